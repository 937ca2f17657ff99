# SPDX-License-Identifier: Apache-2.0
"""Measures a checkpoint in float32: the CIFAR-10 test pictures, and photographs named <label>_<anything>.

    python tools/evaluate.py assets/vit_tiny_cifar10.safetensors --data ../shared/data
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from train_demo import read_split
from vit import LABELS, build, labelled_pictures, load_safetensors, logits_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--limit", type=int, default=0, help="only so many test pictures, evenly over the labels")
    args = parser.parse_args()

    model = build(*load_safetensors(args.model))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if (args.data / "photos").is_dir():
        for crop in (1.0, 32 / 36):
            names, pictures, labels = labelled_pictures(args.data / "photos", 32, crop)
            p = logits_of(model, pictures).softmax(1)
            right = p.argmax(1) == labels
            print(f"photos, crop_pct {crop:.3f}: {int(right.sum())} of {len(names)} right")
            for name, q, r, label in zip(names, p, right, labels):
                print(f"  {'right' if r else 'WRONG'}  {name:32} {LABELS[int(q.argmax())]} {q.max():.3f}"
                      + ("" if r else f", {LABELS[int(label)]} {q[label]:.3f}"))
    pictures, labels = read_split(args.data / "cifar10-test.zip", args.limit, os.cpu_count() or 1)
    logits = logits_of(model.to(device), pictures, 250)
    right = logits.argmax(1) == labels
    print(f"test: {right.double().mean() * 100:.2f} % top-1 of {len(labels)}, "
          f"cross-entropy {torch.nn.functional.cross_entropy(logits, labels):.4f}")
    for i, label in enumerate(LABELS):
        print(f"  {label:12} {right[labels == i].double().mean() * 100:.1f} %")


if __name__ == "__main__":
    main()
