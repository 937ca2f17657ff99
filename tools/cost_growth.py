#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the cost of a picture grows with the batch, the picture's size and the threads: the tables of
engine/benchmarks.md, as Markdown, from `ivit bench --json`.

    cost_growth.py [--ivit build/app/ivit] [--arch deit_tiny_patch16_224 ...] [--runs 30] [--passes 3] [--backend cpu]
                   [--launcher 'chrt -f 10']

Integers and FP32 alternate inside every `ivit bench`. All tables are measured pass after pass, so that a cell's runs lie
minutes apart; a cell is the median of its passes' medians, with the least and the greatest of them behind it, in
milliseconds a picture.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys


def ivit(options, *words, launcher=()):
    command = [*launcher, options.ivit, *words, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def bench(options, arch, batch, threads):
    """Milliseconds a picture, integers' and FP32's; once more, twice at most, where others took the processor."""
    # About the same time for each cell, however large: at least five runs.
    words = ["bench", "--arch", arch, "--batch", str(batch), "--threads", str(threads), "--runs",
             str(max(5, options.runs // batch)), "--backend", options.backend]
    for _ in range(3):
        result = ivit(options, *words, launcher=shlex.split(options.launcher))
        if not result["disturbed"]:
            break
    else:
        print(f"disturbed: {arch}, batch {batch}, {threads} threads", file=sys.stderr)
    return result["integer_ms"]["median"] / batch, result["float_ms"]["median"] / batch


def tables(options, arch):
    """[(title, [(row's name, (arch, batch, threads))])]"""
    stem = arch.rsplit("_", 1)[0]
    most = max(options.threads)
    sizes = [(f"{s} x {s}, {(s // 16) ** 2 + 1} tokens", (f"{stem}_{s}", 1, most)) for s in options.sizes]
    return [(f"{arch}, by batch", [(f"batch {b}", (arch, b, most)) for b in options.batches]),
            (f"{arch}, by threads, batch 1",
             [(f"{t} thread{'s' * (t > 1)}", (arch, 1, t)) for t in options.threads]),
            (f"{stem}, by picture size, batch 1", sizes)]


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f}, {max(values):.3f})"


def row(name, measured, work):
    integers, floats = zip(*measured)
    ratio = statistics.median(f / i for i, f in measured)
    return (f"| {name} | {spread(integers)} | {spread(floats)} | {ratio:.2f} "
            f"| {work / statistics.median(integers) * 1e-6:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ivit", default="build/app/ivit")
    parser.add_argument("--arch", nargs="+", default=["deit_tiny_patch16_224"])
    parser.add_argument("--runs", type=int, default=30, help="of batch 1; a batch has as many less, but five")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="the other tables take the most")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 64, 96, 128, 224, 256, 384, 512])
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--launcher", default="", help="words to put before `ivit bench`")
    options = parser.parse_args()
    all_tables = [table for arch in options.arch for table in tables(options, arch)]
    measured = {cell: [] for _, rows in all_tables for _, cell in rows}
    for _ in range(options.passes):
        for cell, results in measured.items():
            results.append(bench(options, *cell))
    for title, rows in all_tables:
        if not rows:
            continue
        print(f"\n{title}\n\n| | integer ms a picture | FP32 ms a picture | ratio | integer GMAC/s |")
        print("|---|---:|---:|---:|---:|")
        for name, cell in rows:
            work = ivit(options, "info", "--arch", cell[0])["architecture"]["macs"]
            print(row(name, measured[cell], work))


if __name__ == "__main__":
    main()
