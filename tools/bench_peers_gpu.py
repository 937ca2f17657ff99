#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Device time of ivit's integer networks beside PyTorch on the same GPU, in the same run, with the same shapes.

    python3 tools/bench_peers_gpu.py --bench build/tests/ivit_cuda_bench

PyTorch runs eager in FP32 and in TF32, and compiled in FP16 (torch.compile, Triton's and cuBLAS's kernels, channels and
epilogues fused as it likes). ivit's own float opponents are the same network through cuBLASLt, each product's kernel
chosen by the clock. All of them, the integers too, are captured in a CUDA graph and timed by CUDA events around its
replays after 0.3 seconds of warm-up, from pixels on the device to logits on the device: nobody pays for launches. PyTorch
starts from normalized pixels in its own precision, ivit from bytes; weights are random, seeded. The figure is the median
over all rounds, in which the peers alternate; ivit's floats are measured in the first round alone.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from vit import VisionTransformer  # noqa: E402

ARCHITECTURES = {  # width, depth, heads
    "deit_tiny_patch16_224": (192, 12, 3),
    "deit_small_patch16_224": (384, 12, 6),
    "deit_base_patch16_224": (768, 12, 12),
}
PEERS = ("fp32", "tf32", "fp16 compiled")
OWN_FLOATS = ("cuda-fp32", "cuda-tf32", "cuda-fp16")


def network(arch: str, dtype: torch.dtype) -> torch.nn.Module:
    width, depth, heads = ARCHITECTURES[arch]
    torch.manual_seed(1)
    model = VisionTransformer(224, 16, width, depth, heads, num_classes=1000)
    model.init_weights()
    return model.eval().cuda().to(dtype)


def captured(call, pixels):
    """call(pixels) as a CUDA graph; returns what replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call(pixels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(pixels)
    return graph


def times(graph, runs: int) -> list[float]:
    """Milliseconds of each of `runs` replays, once the clocks are up."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < 0.3:
        graph.replay()
        torch.cuda.synchronize()
    out = []
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(runs):
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        out.append(start.elapsed_time(end))
    return out


def ivit(bench: str, arch: str, batch: int, runs: int, *more: str) -> float:
    """The median that ivit's own bench reports, in milliseconds. Throws RuntimeError with what it says when it fails."""
    # ivit's floats take cuBLASLt from wherever the system has it, else the one PyTorch brought along.
    brought = {str(lib.parent) for root in sys.path for lib in pathlib.Path(root).glob("nvidia/*/lib/libcublasLt.so.1?")}
    env = dict(os.environ, LD_LIBRARY_PATH=":".join([os.environ.get("LD_LIBRARY_PATH", ""), *brought]).strip(":"))
    command = [bench, "--json", "--runs", str(runs), *more, f"{arch}:{batch}"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise RuntimeError(f"{bench} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)["median_ms"]


@torch.inference_mode()
def measure(arch: str, batch: int, rounds: int, runs: int, mode: str | None, bench: str, own_floats: list[str]) -> dict:
    graphs, keep = {}, []
    for peer in PEERS:
        dtype = torch.float16 if peer.startswith("fp16") else torch.float32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = peer == "tf32"
        model = network(arch, dtype)
        pixels = torch.randn(batch, 3, 224, 224, device="cuda", dtype=dtype)
        call = torch.compile(model, mode=mode, dynamic=False) if peer.endswith("compiled") else model
        graphs[peer] = captured(call, pixels)
        keep.append((model, call, pixels))  # the graph reads their memory
    samples = {peer: [] for peer in (*PEERS, *OWN_FLOATS, "ivit")}
    for i in range(rounds):
        for peer in PEERS:
            samples[peer] += times(graphs[peer], runs)
        if bench:
            samples["ivit"].append(ivit(bench, arch, batch, runs))
        for name in own_floats if bench and i == 0 else ():
            try:
                samples[name].append(ivit(bench, arch, batch, runs, "--float", name))
            except RuntimeError as e:  # the others are worth having all the same
                print(f"{name}: not measured: {e}", file=sys.stderr)
    return {peer: statistics.median(ms) for peer, ms in samples.items() if ms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/tests/ivit_cuda_bench", help="the program to measure; empty: PyTorch alone")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="all without it")
    parser.add_argument("--batch", type=int, action="append", help="1 and 256 without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=30, help="of each per round")
    parser.add_argument("--mode", help="of torch.compile, e.g. max-autotune-no-cudagraphs")
    parser.add_argument("--own-float", action="append", choices=(*OWN_FLOATS, "none"), help="of ivit; all without it")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here too")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU on this machine")
    own_floats = [name for name in args.own_float or OWN_FLOATS if name != "none"]
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True,
                            text=True).stdout.split("\n")[0] or "unknown"
    print(f"{torch.cuda.get_device_name()}, driver {driver}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
          f"torch.compile mode {args.mode or 'default'}; {args.rounds} rounds of {args.runs} runs; x: of ivit's time")
    rows = []
    for arch in args.arch or ARCHITECTURES:
        for batch in args.batch or (1, 256):
            try:
                ms = measure(arch, batch, args.rounds, args.runs, args.mode, args.bench, own_floats)
            except RuntimeError as e:
                sys.exit(str(e))
            rows.append({"arch": arch, "batch": batch, "median_ms": ms})
            line = f"{arch:24} batch {batch:4}"
            for peer, value in ms.items():
                line += f"  {peer} {value:8.4f} ms"
                if peer != "ivit" and "ivit" in ms:
                    line += f" ({value / ms['ivit']:.2f} x)"
            print(line, flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
