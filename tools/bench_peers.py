#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency of ivit's two networks beside ONNX Runtime and OpenVINO: one machine, one run, the same weights, alternating.

    python3 -m venv venv && venv/bin/pip install -r tools/requirements-peers.txt
    venv/bin/python tools/bench_peers.py --ivit build/app/ivit --arch deit_tiny_patch16_224 --threads 2

The network is built as ONNX straight from a safetensors checkpoint with timm names; PyTorch is not needed. Peers get
pictures already normalized as float; ivit's figures include that step. In every round each peer runs for a while on its
own and then sleeps, so that nobody's waiting threads sit on another's cores; the figure is the median over all rounds.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

ARCHITECTURES = {  # width, depth, heads
    "deit_tiny_patch16_224": (192, 12, 3),
    "deit_small_patch16_224": (384, 12, 6),
    "deit_base_patch16_224": (768, 12, 12),
}


def random_checkpoint(arch: str, path: pathlib.Path) -> None:
    """Seeded random weights under timm's names; latency does not depend on their values."""
    width, depth, _ = ARCHITECTURES[arch]
    rng = np.random.default_rng(1)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.02).astype(np.float32)

    tensors = {
        "cls_token": normal(1, 1, width),
        "pos_embed": normal(1, 197, width),
        "patch_embed.proj.weight": normal(width, 3, 16, 16),
        "patch_embed.proj.bias": normal(width),
        "norm.weight": np.ones(width, np.float32),
        "norm.bias": normal(width),
        "head.weight": normal(1000, width),
        "head.bias": normal(1000),
    }
    for i in range(depth):
        for name, out, inner in (("attn.qkv", 3 * width, width), ("attn.proj", width, width),
                                 ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width)):
            tensors[f"blocks.{i}.{name}.weight"] = normal(out, inner)
            tensors[f"blocks.{i}.{name}.bias"] = normal(out)
        for name in ("norm1", "norm2"):
            tensors[f"blocks.{i}.{name}.weight"] = np.ones(width, np.float32)
            tensors[f"blocks.{i}.{name}.bias"] = normal(width)
    save_file(tensors, path)


def build_onnx(weights: dict, heads: int, batch: int, path: pathlib.Path) -> int:
    """Writes the network [batch, 3, S, S] -> [batch, classes] as ONNX. Returns S."""
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    width, _, patch, _ = weights["patch_embed.proj.weight"].shape
    tokens = weights["pos_embed"].shape[1]
    across = int(round((tokens - 1) ** 0.5))
    size, d = across * patch, width // heads
    depth = 1 + max(int(k.split(".")[1]) for k in weights if k.startswith("blocks."))
    nodes, constants = [], {}

    def constant(name, value):
        constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def linear(x, name):
        w = constant(f"{name}.weight", weights[f"{name}.weight"].T)
        product = add("MatMul", [x, w], f"{name}.matmul")
        return add("Add", [product, constant(f"{name}.bias", weights[f"{name}.bias"])], name + ".out")

    def norm(x, name):
        return add("LayerNormalization", [x, constant(f"{name}.weight", weights[f"{name}.weight"]),
                                          constant(f"{name}.bias", weights[f"{name}.bias"])], name + ".out",
                   axis=-1, epsilon=1e-6)

    def shape(*dims):
        return constant("shape_" + "_".join(map(str, dims)), np.array(dims, np.int64))

    x = add("Conv", ["pixels", constant("patch.weight", weights["patch_embed.proj.weight"]),
                     constant("patch.bias", weights["patch_embed.proj.bias"])], "patches", strides=[patch, patch])
    x = add("Reshape", [x, shape(batch, width, tokens - 1)], "patches.flat")
    x = add("Transpose", [x], "patches.tokens", perm=[0, 2, 1])
    cls = constant("cls", np.repeat(weights["cls_token"].reshape(1, 1, width), batch, 0))
    x = add("Concat", [cls, x], "tokens", axis=1)
    x = add("Add", [x, constant("pos", weights["pos_embed"].reshape(1, tokens, width))], "embedded")
    for i in range(depth):
        b = f"blocks.{i}"
        # q, k and v: one product, then [3, batch, heads, tokens, d]
        qkv = linear(norm(x, f"{b}.norm1"), f"{b}.attn.qkv")
        qkv = add("Reshape", [qkv, shape(batch, tokens, 3, heads, d)], f"{b}.qkv.split")
        qkv = add("Transpose", [qkv], f"{b}.qkv.heads", perm=[2, 0, 3, 1, 4])
        parts = [add("Gather", [qkv, constant(f"index{j}", np.array(j, np.int64))], f"{b}.{c}", axis=0)
                 for j, c in enumerate("qkv")]
        q = add("Mul", [parts[0], constant("scale", np.array(d ** -0.5, np.float32))], f"{b}.q.scaled")
        k = add("Transpose", [parts[1]], f"{b}.k.transposed", perm=[0, 1, 3, 2])
        p = add("Softmax", [add("MatMul", [q, k], f"{b}.logits")], f"{b}.softmax", axis=-1)
        c = add("Transpose", [add("MatMul", [p, parts[2]], f"{b}.context")], f"{b}.context.tokens", perm=[0, 2, 1, 3])
        c = add("Reshape", [c, shape(batch, tokens, width)], f"{b}.context.flat")
        x = add("Add", [x, linear(c, f"{b}.attn.proj")], f"{b}.add1")
        h = linear(norm(x, f"{b}.norm2"), f"{b}.mlp.fc1")
        h = add("Gelu", [h], f"{b}.mlp.act")
        x = add("Add", [x, linear(h, f"{b}.mlp.fc2")], f"{b}.add2")
    # Only the class token goes on; both runtimes would otherwise normalize all of them.
    x = add("Gather", [x, constant("zero", np.array(0, np.int64))], "class_token", axis=1)
    x = linear(norm(x, "norm"), "head")
    nodes[-1].output[0] = "logits"
    classes = weights["head.weight"].shape[0]
    graph = helper.make_graph(
        nodes, "vit", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])], list(constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return size


def quantize_with_ort(fp32: pathlib.Path, folder: pathlib.Path, pixels: np.ndarray) -> dict:
    """The two ways ONNX Runtime documents: dynamic, and static as QDQ (per channel, S8 weights, U8 activations)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, dynamic, static = folder / "prepared.onnx", folder / "dynamic.onnx", folder / "static.onnx"
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(dynamic), weight_type=QuantType.QInt8, per_channel=True)

    class Reader(CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(2)
            self.rest = iter([{"pixels": pixels}] +
                             [{"pixels": rng.standard_normal(pixels.shape).astype(np.float32)} for _ in range(3)])

        def get_next(self):
            return next(self.rest, None)

    quantize_static(str(prepared), str(static), Reader(), per_channel=True, weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8)
    return {"dynamic": dynamic, "static": static}


def ort_peer(path: pathlib.Path, threads: int, pixels: np.ndarray):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixels": pixels})[0]


def openvino_peer(path: pathlib.Path, threads: int, pixels: np.ndarray, precision: str | None):
    import openvino as ov
    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = core.compile_model(core.read_model(str(path)), "CPU", config)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: pixels}, share_inputs=True, share_outputs=True)[0]


def nncf_peer(path: pathlib.Path, threads: int, pixels: np.ndarray):
    """OpenVINO's own way to INT8: NNCF's post-training quantization with its settings for transformers."""
    import nncf
    import openvino as ov
    core = ov.Core()
    rng = np.random.default_rng(2)
    data = [pixels] + [rng.standard_normal(pixels.shape).astype(np.float32) for _ in range(3)]
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        model = nncf.quantize(core.read_model(str(path)), nncf.Dataset(data, lambda x: {"pixels": x}),
                              model_type=nncf.ModelType.TRANSFORMER, subset_size=len(data))
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
              "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer({0: pixels}, share_inputs=True, share_outputs=True)[0]


def executed_precision(path: pathlib.Path, threads: int) -> str:
    """What OpenVINO runs in when nobody says."""
    import openvino as ov
    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    precision = core.compile_model(core.read_model(str(path)), "CPU", config).get_property("INFERENCE_PRECISION_HINT")
    return precision.get_type_name()


def ivit_rounds(ivit: str, model: pathlib.Path, threads: int, batch: int, runs: int) -> dict:
    command = [ivit, "bench", "--json", "--model", str(model), "--threads", str(threads), "--batch", str(batch),
               "--runs", str(runs), "--warm-up", "5", "--backend", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--arch", choices=ARCHITECTURES, help="random weights of this architecture")
    which.add_argument("--model", type=pathlib.Path, help="safetensors checkpoint with timm names")
    parser.add_argument("--heads", type=int, help="with --model: number of heads (width / 64 without it)")
    parser.add_argument("--ivit", default="build/app/ivit", help="the program to measure; empty: only the peers")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20, help="of each per round")
    parser.add_argument("--no-int8", action="store_true", help="leave the peers' INT8 out")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here too")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model = args.model
        if args.arch:
            model = folder / f"{args.arch}.safetensors"
            random_checkpoint(args.arch, model)
        weights = load_file(model)
        heads = args.heads or (ARCHITECTURES[args.arch][2] if args.arch else weights["cls_token"].shape[-1] // 64)
        fp32 = folder / "fp32.onnx"
        size = build_onnx(weights, heads, args.batch, fp32)
        pixels = np.random.default_rng(1).standard_normal((args.batch, 3, size, size)).astype(np.float32)

        peers = {
            "ONNX Runtime FP32": ort_peer(fp32, args.threads, pixels),
            "OpenVINO FP32": openvino_peer(fp32, args.threads, pixels, "f32"),
            f"OpenVINO default ({executed_precision(fp32, args.threads)})":
                openvino_peer(fp32, args.threads, pixels, None),
        }
        if not args.no_int8:
            quantized = quantize_with_ort(fp32, folder, pixels)
            peers["ONNX Runtime INT8 dynamic"] = ort_peer(quantized["dynamic"], args.threads, pixels)
            peers["ONNX Runtime INT8 static"] = ort_peer(quantized["static"], args.threads, pixels)
            peers["OpenVINO INT8 (QDQ)"] = openvino_peer(quantized["static"], args.threads, pixels, "f32")
            peers["OpenVINO INT8 (NNCF)"] = nncf_peer(fp32, args.threads, pixels)

        # The peers' FP32 networks must be the same function, or the comparison means nothing.
        reference = np.array(peers["ONNX Runtime FP32"]())
        other = np.array(peers["OpenVINO FP32"]())
        if np.abs(reference - other).max() > 1e-3 * np.abs(reference).max():
            sys.exit("the two FP32 peers do not agree with each other")

        times = {name: [] for name in peers}
        ours = {"ivit FP32": [], "ivit INT8": []}
        for _ in range(args.rounds):
            for name, run in peers.items():
                for i in range(args.runs + 3):
                    start = time.perf_counter()
                    run()
                    if i >= 3:
                        times[name].append((time.perf_counter() - start) * 1e3)
                time.sleep(0.1)
            if args.ivit:
                document = ivit_rounds(args.ivit, model, args.threads, args.batch, args.runs)
                ours["ivit FP32"].append(document["float_ms"])
                ours["ivit INT8"].append(document["integer_ms"])

        rows = [{"name": name, "median": statistics.median(t), "p95": sorted(t)[len(t) * 95 // 100], "min": min(t)}
                for name, t in times.items()]
        if args.ivit:
            # ivit reports each round as a whole: the median of the rounds' medians.
            rows = [{"name": name, "median": statistics.median(r["median"] for r in rounds),
                     "p95": statistics.median(r["p95"] for r in rounds), "min": min(r["min"] for r in rounds)}
                    for name, rounds in ours.items()] + rows

        cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
        print(f"{args.arch or args.model.name}, batch {args.batch}, {args.threads} threads, {cpu}, "
              f"{args.rounds} rounds of {args.runs} runs, load {os.getloadavg()[0]:.1f}")
        columns = [r for r in rows if r["name"].startswith("ivit")]
        print(f"{'':<26}{'median ms':>11}{'p95':>9}{'min':>9}" + "".join(f"{'x ' + r['name']:>13}" for r in columns))
        for r in rows:
            print(f"{r['name']:<26}{r['median']:>11.2f}{r['p95']:>9.2f}{r['min']:>9.2f}" +
                  "".join(f"{r['median'] / c['median']:>13.2f}" for c in columns))
        if args.json:
            args.json.write_text(json.dumps({"model": args.arch or str(args.model), "batch": args.batch,
                                             "threads": args.threads, "cpu": cpu, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
