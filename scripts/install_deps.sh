#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages the build and the tests need; does nothing when all are there.
set -euo pipefail

packages=(
    g++ cmake ninja-build ccache pkg-config python3 python3-jsonschema binutils
    libfmt-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libdnnl-dev libpango1.0-dev
    libopencv-core-dev libopencv-imgcodecs-dev libopencv-videoio-dev libjpeg-dev libpng-dev zlib1g-dev
    catch2 libbenchmark-dev
    qt6-base-dev qt6-base-dev-tools libqt6opengl6-dev qt6-svg-dev qt6-qpa-plugins
    libqcustomplot-dev libimgui-dev libgl-dev libgl1-mesa-dri fonts-dejavu-core
    xvfb xauth poppler-utils
)
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and neither root nor sudo is at hand: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q >&2
"${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
