#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pillow's resampling as the yardstick of engine/resize.cpp (needs Pillow).

    pillow_reference.py                      writes tests/golden/pillow_resize.json
    pillow_reference.py --photo FILE --size N --crop P --out RAW
                                             the network input of one photo, as RGB bytes [N, N, 3]

The committed expectations are of pictures made by formula (make() here and in tests/resize_test.cpp); photos
are never copied into the repository, nor are pixels made of them.
"""
import argparse
import json
import math
import pathlib

import PIL
from PIL import Image, ImageOps

MASK = (1 << 64) - 1

# kind, width, height -> output width, output height
RESIZES = [
    ("noise", 64, 48, 32, 32), ("noise", 61, 47, 32, 32), ("noise", 20, 20, 32, 32), ("noise", 33, 31, 32, 32),
    ("noise", 500, 333, 48, 32), ("noise", 32, 32, 32, 32), ("noise", 1, 1, 32, 32), ("noise", 2, 3, 32, 32),
    ("noise", 1000, 1, 32, 32), ("noise", 1, 1000, 32, 32), ("noise", 64, 64, 1, 1), ("noise", 997, 3, 7, 50),
    ("noise", 2000, 20, 5, 5), ("gradient", 300, 200, 32, 32), ("gradient", 10, 10, 40, 30),
    ("checker", 100, 100, 32, 32), ("checker", 9, 9, 32, 32), ("checker", 96, 96, 32, 32),
    ("noise", 500, 375, 224, 224), ("checker", 640, 480, 256, 192), ("noise", 100, 80, 320, 256),
]
# kind, width, height, network input size, crop_pct
INPUTS = [
    ("noise", 64, 48, 32, 1.0), ("noise", 48, 64, 32, 0.875), ("noise", 500, 333, 32, 0.875),
    ("gradient", 333, 500, 32, 0.9), ("noise", 1, 1, 32, 0.875), ("noise", 1, 7, 32, 1.0),
    ("noise", 3000, 15, 32, 0.875), ("checker", 15, 3000, 32, 1.0), ("noise", 17, 31, 33, 0.95),
    ("noise", 500, 375, 224, 0.875), ("gradient", 335, 500, 224, 1.0), ("checker", 1280, 720, 224, 0.875),
]


def make(kind, width, height):
    """RGB bytes by formula."""
    count = width * height * 3
    if kind == "noise":
        out, state = bytearray(), width * 1000003 + height
        while len(out) < count:
            state = (state + 0x9E3779B97F4A7C15) & MASK
            z = state
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
            out += (z ^ (z >> 31)).to_bytes(8, "little")
        return bytes(out[:count])
    pixel = {
        "gradient": lambda x, y: (x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) & 255),
        "checker": lambda x, y: (((x // 3 + y // 3) & 1) * 255, ((x + y) & 1) * 255, ((x // 8 ^ y // 8) & 1) * 255),
    }[kind]
    return bytes(v for y in range(height) for x in range(width) for v in pixel(x, y))


def network_input(image, size, crop_pct):
    """timm's Resize(floor(size / crop_pct), BICUBIC) and CenterCrop(size), in Pillow alone."""
    width, height = image.size
    shorter = math.floor(size / crop_pct + 1e-6)
    if width <= height:
        full = (shorter, int(shorter * height / width))
    else:
        full = (int(shorter * width / height), shorter)
    left, top = (int(round((side - size) / 2.0)) for side in full)
    return image.resize(full, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return f"{h:016x}"


def expectation(image):
    data = image.tobytes()
    # Small results whole, so that a difference can be looked at; large ones by hash.
    return {"hex": data.hex()} if len(data) <= 5000 else {"fnv1a": fnv1a(data)}


def golden():
    resizes = []
    for kind, w, h, ow, oh in RESIZES:
        image = Image.frombytes("RGB", (w, h), make(kind, w, h)).resize((ow, oh), Image.Resampling.BICUBIC)
        resizes.append({"kind": kind, "from": [w, h], "to": [ow, oh], **expectation(image)})
    inputs = []
    for kind, w, h, size, crop in INPUTS:
        image = network_input(Image.frombytes("RGB", (w, h), make(kind, w, h)), size, crop)
        inputs.append({"kind": kind, "from": [w, h], "size": size, "crop_pct": crop, **expectation(image)})
    return {"pillow": PIL.__version__, "resize": resizes, "preprocess": inputs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--crop", type=float, default=0.875)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    if options.photo:
        image = ImageOps.exif_transpose(Image.open(options.photo)).convert("RGB")
        options.out.write_bytes(network_input(image, options.size, options.crop).tobytes())
        return
    text = json.dumps(golden(), separators=(",", ":")).replace('{"kind"', '\n{"kind"')
    path = options.out or pathlib.Path(__file__).resolve().parent.parent / "tests/golden/pillow_resize.json"
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
