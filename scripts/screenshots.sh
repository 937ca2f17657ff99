#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The pictures of the window in README, of the program as it is now: assets/screenshots/*.png. Needs xvfb-run and a
# built explorer (scripts/run.sh builds it); the first argument is its build folder.
set -euo pipefail
cd "$(dirname "$0")/.."

explorer=${1:-build}/app/ivit-explorer
home=$(mktemp -d)  # nobody's settings are read or changed
trap 'rm -rf "$home"' EXIT
mkdir -p assets/screenshots

shoot() { # name, options...
    local name=$1
    shift
    HOME=$home XDG_CONFIG_HOME=$home xvfb-run -a -s "-screen 0 1920x1080x24" \
        "$explorer" --size 1440x900 --screenshot "assets/screenshots/$name.png" "$@"
}
shoot attention --theme light --tab 1
shoot tensor --theme dark --tab 2 --node blocks.6.attn.softmax
shoot distribution --theme light --tab 3 --node blocks.3.mlp.fc1 --quant W4A8
shoot latency --theme dark --tab 4
shoot lens --theme dark --tab 6 --quant W4A4
shoot causes --theme light --tab 7 --quant W4A4
shoot operator --theme light --tab 5 --node blocks.6.mlp.act --quant W4A8
