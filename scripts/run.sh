#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to the explorer on the bundled model and a sample: installs what is missing, builds, runs.
# Without a display it does the same job on the command line and writes a report. Arguments go to the program.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DIVIT_TESTS=OFF "${launcher[@]}" >build.log 2>&1 ||
    { cat build.log >&2; exit 1; }
cmake --build build

sample=(assets/samples/*)
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec build/app/ivit-explorer "$@"
fi
echo "no display: the same job on the command line" >&2
build/app/ivit compare "${@:-${sample[0]}}"
build/app/ivit report "${@:-${sample[0]}}" -o ivit-report.html -o ivit-report.json
