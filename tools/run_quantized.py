#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a quantized model (engine/quantized_model.md) on raw pixels, in plain numpy integers.

An independent reading of the file and of engine/arithmetic.md: its logits equal the engine's bit for bit
(tests/quantized_file_test.cpp). Made to be read, not to be fast.

    run_quantized.py MODEL.safetensors PIXELS.rgb

PIXELS.rgb holds one or more pictures of image_size * image_size * 3 bytes, row by row, RGB; "-" reads standard input.
Prints one JSON document per picture: {"logits": [integers], "scale": s, "top": index, "label": name}.
"""
import json
import math
import sys
import zlib

import numpy as np

DTYPES = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F64": np.float64}


def read_safetensors(path):
    """-> (metadata {str: str}, tensors {name: array})"""
    with open(path, "rb") as f:
        data = f.read()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, t in header.items():
        begin, end = (8 + length + offset for offset in t["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[t["dtype"]]).reshape(t["shape"])
    return metadata, tensors


# --- The arithmetic. Everything is int64; nothing below uses floating point. ---


def round_shift(x, s):
    return (x + (np.int64(1) << (s - 1))) >> s


def clamp(x, bits):
    return np.clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def requant(x, m, s, bits):
    return clamp(round_shift(x * m, s), bits)


def shift_exp(x, i0, n):
    x = x + (x >> 1) - (x >> 4)
    x = np.maximum(x, -n * i0)
    q = -x // i0
    r = -x - q * i0
    v = 2 * i0 - r
    e = n - q
    return np.where(e >= 1, v << np.maximum(e - 1, 0), v >> 1)


def reciprocal(d, M):
    if M == 31:
        return (2**31 - 1) // np.minimum(d, 2**31 - 1)
    return (1 << M) // d


def share(e, f, node):
    return np.minimum((f * e) >> (node["M"] - node["k"] + 1), 1 << (node["k"] - 1))


def shiftmax(x, i0, node):
    e = shift_exp((x - x.max(axis=-1, keepdims=True)) << node["t"], i0, node["n"])
    return share(e, reciprocal(e.sum(axis=-1, keepdims=True), node["M"]), node)


def shiftgelu(x, i0, node):
    if node["pivot"] == "row":
        c = np.maximum(0, x.max(axis=-1, keepdims=True))
    else:
        c = np.maximum(0, x)
    e = shift_exp((x - c) << node["t"], i0, node["n"])
    e0 = shift_exp(-c << node["t"], i0, node["n"])
    return x * share(e, reciprocal(e + e0, node["M"]), node)


def layernorm(x):
    C = x.shape[-1]
    d = x - (2 * x.sum(axis=-1, keepdims=True) + C) // (2 * C)
    v = (d * d).sum(axis=-1, keepdims=True)
    std = np.array([max(1, math.isqrt(int(i))) for i in v.ravel()], np.int64).reshape(v.shape)
    return (d * ((2**31 - 1) // std)) >> 1


# --- The operators: (inputs, node, tensors of the node) -> output, shapes without a batch. ---


def run_node(node, inputs, get):
    """inputs: outputs of node["inputs"]; get(suffix): int64 tensor NAME.suffix."""
    op, bits = node["op"], node["bits"]
    x = inputs[0]
    if op == "input":  # pixels [H, W, 3] -> [3, H, W]
        table = get("table")
        return np.stack([table[c][x[:, :, c]] for c in range(3)])
    if op == "patch_embed":  # [3, H, W] -> [patches, C]
        w = get("weight")
        C, p, g = w.shape[0], w.shape[2], x.shape[1] // w.shape[2]
        rows = x.reshape(3, g, p, g, p).transpose(1, 3, 0, 2, 4).reshape(g * g, 3 * p * p)
        return requant(rows @ w.reshape(C, -1).T + get("bias"), get("m"), get("s"), bits)
    if op == "pos_embed":  # [patches, C] -> [tokens, C]
        P = get("constant")
        return clamp(np.concatenate([P[:1], x + P[1:]]), bits)
    if op == "layernorm":  # the first rows only
        y = layernorm(x[: node["shape"][0]])
        return clamp(round_shift(y * get("m") + get("B"), get("s")), bits)
    if op == "linear":
        acc = x @ get("weight").T + get("bias")
        return acc if bits == 32 else requant(acc, get("m"), get("s"), bits)
    if op == "attn_logits":  # [tokens, 3C] -> [heads, tokens, tokens]
        q, k, _ = split_heads(x, node["heads"])
        return requant(q @ k.transpose(0, 2, 1), get("m"), get("s"), bits)
    if op == "softmax":
        return shiftmax(x, get("i0"), node)
    if op == "attn_context":  # -> [tokens, C]
        _, _, v = split_heads(inputs[1], node["heads"])
        out = x @ v
        out = out.transpose(1, 0, 2).reshape(out.shape[1], -1)
        return requant(out, get("m"), get("s"), bits)
    if op == "gelu":
        return requant(shiftgelu(x, get("i0"), node), get("m"), get("s"), bits)
    if op == "residual_add":  # the linear's accumulator, and the residual stream as it was
        return clamp(round_shift(x * get("m"), get("s")) + round_shift(inputs[1] * get("mt"), get("st")), bits)
    if op == "head":
        return requant(x @ get("weight").T + get("bias"), get("m"), get("s"), 32)
    raise SystemExit(f"unknown op {op}")


def split_heads(qkv, heads):
    """[tokens, 3C] -> q, k, v, each [heads, tokens, C / heads]"""
    tokens, C3 = qkv.shape
    return qkv.reshape(tokens, 3, heads, C3 // 3 // heads).transpose(1, 2, 0, 3)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    metadata, tensors = read_safetensors(sys.argv[1])
    if metadata.get("format") != "ivit-quantized" or metadata.get("version") != "1":
        raise SystemExit(f"{sys.argv[1]}: not a quantized model of version 1")
    for name, checksum in json.loads(metadata.get("crc32", "{}")).items():
        if zlib.crc32(metadata[name].encode() if name in metadata else tensors[name]) != checksum:
            raise SystemExit(f"{sys.argv[1]}: {name} is damaged")
    model, nodes = json.loads(metadata["model"]), json.loads(metadata["nodes"])
    size = model["image_size"]
    with (sys.stdin.buffer if sys.argv[2] == "-" else open(sys.argv[2], "rb")) as f:
        pixels = np.frombuffer(f.read(), np.uint8)
    if pixels.size == 0 or pixels.size % (size * size * 3):
        raise SystemExit(f"{sys.argv[2]}: {pixels.size} bytes are no whole number of {size} x {size} RGB pictures")
    for picture in pixels.reshape(-1, size, size, 3):
        outputs = []
        for node in nodes:
            inputs = [outputs[i] for i in node["inputs"]] or [picture]
            outputs.append(run_node(node, inputs, lambda t: tensors[f"{node['name']}.{t}"].astype(np.int64)))
        logits = outputs[-1][0]
        top = int(logits.argmax())
        print(json.dumps({"logits": logits.tolist(), "scale": nodes[-1]["scale"][0], "top": top,
                          "label": model["labels"][top]}))


if __name__ == "__main__":
    main()
