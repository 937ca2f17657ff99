# SPDX-License-Identifier: Apache-2.0
"""Writes what the float network must compute, in float64 by PyTorch, for the C++ tests to compare with.

    python tools/float_reference.py                  # writes tests/golden/float_reference.json

Two networks: the bundled model, and one whose weights come from a formula, so that a test needs no file and no random
number library. Their input comes from a formula too. The whole definition:

    splitmix64(seed): state = seed; next(): state += 0x9E3779B97F4A7C15; z = state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9; z = (z ^ (z >> 27)) * 0x94D049BB133111EB; return z ^ (z >> 31)
        all in 64 bits without sign, wrapping around
    unit(u) = (u >> 11) * 2^-53, in [0, 1), exact in float64

    input:   one splitmix64(input_seed); for y, for x, for channel (R, G, B): byte = next() >> 56
             value = (byte / 255 - mean[channel]) / std[channel]
    weights: one splitmix64(weight_seed) through all the tensors, in the order that "tensors" lists them, row-major within
             each: value = offset + amplitude * (2 * unit(next()) - 1), rounded to the nearest float32

Each node gives its shape (without the batch), sum, sum of magnitudes and first values in row-major order; tokens are rows,
the class token is row 0. "patch_embed" is the projected patches alone, before class token and position embedding.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from vit import MEAN, STD, VisionTransformer, build, load_safetensors

ROOT = Path(__file__).resolve().parents[1]
MASK = (1 << 64) - 1


def splitmix64(seed: int, count: int) -> np.ndarray:
    """The first `count` outputs. numpy's unsigned arithmetic wraps around, which is what is meant."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def splitmix64_plain(seed: int, count: int) -> list:
    """The same as the docstring has it, to check the quick one with."""
    out, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out.append(z ^ (z >> 31))
    return out


def input_bytes(seed: int, size: int) -> np.ndarray:
    return (splitmix64(seed, size * size * 3) >> np.uint64(56)).astype(np.uint8).reshape(size, size, 3)


def formula_range(name: str, fan_in: int) -> tuple[float, float]:
    """(offset, amplitude): gains around 1, biases small, matrices such that activations keep their size."""
    if name.endswith("weight") and "norm" in name:
        return 1.0, 0.25
    if name.endswith("bias"):
        return 0.0, 0.125
    if name in ("cls_token", "pos_embed"):
        return 0.0, 0.5
    # A power of two, so that no language needs a square root for it: near sqrt(3 / fan_in), which has variance 1 / fan_in.
    return 0.0, 2.0 ** round(float(np.log2(np.sqrt(3.0 / fan_in))))


def formula_network(shape: dict, seed: int):
    model = VisionTransformer(**shape).double().eval()
    tensors, position = [], 0
    state = model.state_dict()
    total = sum(t.numel() for t in state.values())
    stream = (splitmix64(seed, total) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    for name in sorted(state):
        dims = list(state[name].shape)
        count = int(np.prod(dims))
        offset, amplitude = formula_range(name, int(np.prod(dims[1:])) if len(dims) > 1 else 1)
        values = (offset + amplitude * (2.0 * stream[position:position + count] - 1.0)).astype(np.float32)
        state[name] = torch.from_numpy(values.astype(np.float64).reshape(dims))
        tensors.append({"name": name, "shape": dims, "offset": offset, "amplitude": amplitude})
        position += count
    model.load_state_dict(state)
    return model, tensors


def summary(values: torch.Tensor) -> dict:
    flat = values.reshape(-1)
    return {"shape": list(values.shape), "sum": flat.sum().item(), "abs_sum": flat.abs().sum().item(),
            "first": flat[:16].tolist()}


@torch.no_grad()
def reference(model, seed: int, size: int, mean=MEAN, std=STD) -> dict:
    pixels = input_bytes(seed, size)
    x = (torch.from_numpy(pixels.astype(np.float64)) / 255 - torch.tensor(mean, dtype=torch.float64)) \
        / torch.tensor(std, dtype=torch.float64)
    nodes = {}

    def keep(name):
        def hook(module, inputs, output):
            nodes[name] = summary(output[0])
        return hook

    hooks = [model.patch_embed.register_forward_hook(keep("patch_embed")), model.norm.register_forward_hook(keep("norm"))]
    for i, block in enumerate(model.blocks):
        hooks.append(block.register_forward_hook(keep(f"blocks.{i}")))
        for inner in ("norm1", "attn.qkv", "attn", "norm2", "mlp.fc1", "mlp"):
            if i == 0:  # where a difference starts is found in the first block, if it is found by nodes at all
                hooks.append(block.get_submodule(inner).register_forward_hook(keep(f"blocks.{i}.{inner}")))
    logits = model(x.permute(2, 0, 1).unsqueeze(0))[0]
    for hook in hooks:
        hook.remove()
    return {"input_seed": seed, "image_size": size, "mean": list(mean), "std": list(std),
            "input_first_bytes": pixels.reshape(-1)[:16].tolist(), "nodes": nodes, "logits": logits.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "assets" / "vit_tiny_cifar10.safetensors")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden" / "float_reference.json")
    args = parser.parse_args()
    assert splitmix64(2026, 5).tolist() == splitmix64_plain(2026, 5)

    tensors, metadata = load_safetensors(args.model)
    bundled = build(tensors, metadata, torch.float64)
    mean, std = ([float(v) for v in metadata[key].split(",")] for key in ("mean", "std"))
    size = int(metadata["image_size"])
    cases = [{"name": args.model.stem, "file": args.model.name, "metadata_note": metadata.get("note", ""),
              **reference(bundled, seed, size, mean, std)} for seed in (1, 2)]

    shape = {"image_size": 16, "patch_size": 4, "width": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2, "num_classes": 7,
             "eps": 1e-6}
    model, description = formula_network(shape, 7)
    cases.append({"name": "formula", "shape": shape, "weight_seed": 7, "tensors": description, **reference(model, 3, 16)})

    document = {"definition": __doc__.strip().splitlines(), "splitmix64_seed_7_first": [f"{v:016x}" for v in splitmix64_plain(7, 4)],
                "gelu": "0.5 x (1 + erf(x / sqrt 2))", "cases": cases}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(args.out, args.out.stat().st_size, "bytes")
    for case in cases:
        print(case["name"], [round(v, 4) for v in case["logits"]])


if __name__ == "__main__":
    main()
