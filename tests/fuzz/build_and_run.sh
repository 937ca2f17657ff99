#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# That the libFuzzer target still builds, and a few thousand inputs from its corpus: build_and_run.sh SOURCE_FOLDER
# BUILD_FOLDER. 77 where there is no Clang.
set -euo pipefail
source=$1 build=$2
command -v clang++ >/dev/null || { echo "no clang++: skipped"; exit 77; }
cmake -S "$source" -B "$build" -DIVIT_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
cmake --build "$build" --target safetensors_fuzz
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
"$build/tests/fuzz/safetensors_fuzz" -runs=3000 -rss_limit_mb=1024 -verbosity=0 \
    -dict="$source/tests/fuzz/safetensors.dict" "$new" "$source/tests/fuzz/corpus"
