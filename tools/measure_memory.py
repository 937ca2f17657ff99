#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak resident set of a quantized model at batch 1, above a process that does nothing.

    measure_memory.py [--ivit build/app/ivit] [--arch deit_tiny_patch16_224 ...] [--limit MB]

The model is written with seeded random weights, then run with `ivit bench` from its file alone: integers only, nothing
of the float network. Nothing is `ivit --version`, which loads the same libraries. A last column adds a JPEG picture to
read, for which OpenCV wakes up all formats it knows. Exits with 1 when an architecture takes more than --limit MB.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

SAMPLES = pathlib.Path(__file__).resolve().parent.parent / "assets" / "samples"


def peak_mb(command):
    """The least of three: what disturbs can only add."""
    peaks = []
    for _ in range(3):
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        if status:
            sys.exit(f"{' '.join(command)} failed")
        peaks.append(usage.ru_maxrss / 1024)
    return min(peaks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ivit", default="build/app/ivit")
    parser.add_argument("--arch", nargs="+", default=["deit_tiny_patch16_224"])
    parser.add_argument("--limit", type=float, help="megabytes (2^20 bytes)")
    options = parser.parse_args()
    ivit = str(pathlib.Path(options.ivit).resolve())
    nothing = peak_mb([ivit, "--version"])
    over = False
    print(f"an empty process: {nothing:.1f} MB\n\n| network | file MB | run MB | run on a JPEG MB |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for arch in options.arch:
            file = os.path.join(folder, f"{arch}.w8a8.safetensors")
            subprocess.run([ivit, "quantize", "--arch", arch, "--calibration", str(SAMPLES), "--method", "minmax", "-o",
                            file], check=True, stdout=subprocess.DEVNULL)
            bench = [ivit, "bench", "--model", file, "--backend", "cpu", "--runs", "3", "--warm-up", "0"]
            run = peak_mb(bench) - nothing
            picture = peak_mb(bench + [str(next(SAMPLES.glob("*.jpg")))]) - nothing
            print(f"| {arch} | {os.path.getsize(file) / 2**20:.1f} | {run:.1f} | {picture:.1f} |", flush=True)
            over = over or (options.limit is not None and run > options.limit)
    if over:
        sys.exit(f"more than {options.limit} MB")


if __name__ == "__main__":
    main()
