#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# ivit-explorer where no window can be opened: one sentence and a hint, exit status 2.
#   explorer_without_display.sh EXPLORER
set -eu

refused() { # part of the sentence, the environment...
    expected=$1
    shift
    status=0
    said=$(env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM "$@" 2>&1) || status=$?
    case "$status $said" in
        "2 ivit-explorer: "*"$expected"*"ivit report"*) ;;
        *) echo "expected status 2 and '$expected', got $status: $said"; exit 1 ;;
    esac
    [ "$(echo "$said" | wc -l)" = 2 ] || { echo "more than a sentence and a hint: $said"; exit 1; }
}
refused "there is no display" "$1"
refused "could not connect to display :4711" DISPLAY=:4711 "$1"
refused "nonsense" QT_QPA_PLATFORM=nonsense "$1"
env -u DISPLAY "$1" --version
