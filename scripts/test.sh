#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that is tested, on a machine without a GPU: a release build with all warnings as errors and its tests
# (widgets under Xvfb). IVIT_SANITIZERS=1 adds the engine's tests under ASan and UBSan, and the threaded ones under TSan.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh
export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR="$PWD"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

build() { # folder, cmake options...
    local folder=$1
    shift
    cmake -S . -B "$folder" -G Ninja "${launcher[@]}" "$@"
    cmake --build "$folder"
}

build build-test -DCMAKE_BUILD_TYPE=Release
xvfb-run -a -s "-screen 0 1920x1080x24" ctest --test-dir build-test --output-on-failure

if [ -n "${IVIT_SANITIZERS:-}" ]; then
    build build-asan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DIVIT_SANITIZE=address,undefined -DIVIT_GUI=OFF -DIVIT_CUDA=OFF
    LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0" ctest --test-dir build-asan --output-on-failure
    build build-tsan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DIVIT_SANITIZE=thread -DIVIT_GUI=OFF -DIVIT_CUDA=OFF
    TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:print_suppressions=0" build-tsan/tests/ivit_tests "[threads]"
fi
