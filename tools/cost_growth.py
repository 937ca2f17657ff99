#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the cost of a picture grows with the batch, the picture's size and the threads: the tables of
engine/benchmarks.md, as Markdown, from `ivit bench --json`.

    cost_growth.py [--ivit build/app/ivit] [--arch deit_tiny_patch16_224 ...] [--runs 30] [--backend cpu]

Integers and FP32 alternate inside every `ivit bench`; a cell is the median of its runs, with the 95th percentile behind
it, in milliseconds a picture.
"""
import argparse
import json
import subprocess


def bench(options, arch, batch=1, threads=0):
    # About the same time for each cell, however large: at least five runs.
    command = [options.ivit, "bench", "--arch", arch, "--batch", str(batch), "--threads", str(threads),
               "--runs", str(max(5, options.runs // batch)), "--backend", options.backend, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def macs(options, arch):
    command = [options.ivit, "info", "--arch", arch, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["architecture"]["macs"]


def row(name, result, work):
    batch = result["batch"]
    integer, floats = (result[key] for key in ("integer_ms", "float_ms"))
    picture = integer["median"] / batch
    rate = work / picture * 1e-6
    return (f"| {name} | {picture:.3f} ({integer['p95'] / batch:.3f}) "
            f"| {floats['median'] / batch:.3f} ({floats['p95'] / batch:.3f}) "
            f"| {floats['median'] / integer['median']:.2f} | {rate:.0f} |")


def table(title, rows):
    print(f"\n{title}\n\n| | integer ms a picture (p95) | FP32 ms a picture (p95) | ratio | integer GMAC/s |")
    print("|---|---:|---:|---:|---:|")
    print("\n".join(rows), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ivit", default="build/app/ivit")
    parser.add_argument("--arch", nargs="+", default=["deit_tiny_patch16_224"])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96, 128, 224, 256, 384, 512])
    parser.add_argument("--backend", default="cpu")
    options = parser.parse_args()
    for arch in options.arch:
        work = macs(options, arch)
        table(f"{arch}, by batch", [row(f"batch {b}", bench(options, arch, b), work) for b in options.batches])
        table(f"{arch}, by threads, batch 1",
              [row(f"{t} thread{'s' * (t > 1)}", bench(options, arch, 1, t), work) for t in options.threads])
        stem = arch.rsplit("_", 1)[0]
        rows = []
        for size in options.sizes:
            name = f"{stem}_{size}"
            tokens = (size // 16) ** 2 + 1
            rows.append(row(f"{size} x {size}, {tokens} tokens", bench(options, name), macs(options, name)))
        table(f"{stem}, by picture size, batch 1", rows)


if __name__ == "__main__":
    main()
