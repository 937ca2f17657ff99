# SPDX-License-Identifier: Apache-2.0
"""Trains the bundled model: a ViT-Tiny (width 192, 12 blocks, 3 heads of 64) on CIFAR-10, from scratch.

    pip install torch safetensors pillow numpy
    python tools/train_demo.py --data ../shared/data --out build/train --minutes 8

`--data` holds cifar10-train.zip and cifar10-test.zip, JPEGs in train/<label>/NNNN.jpg, and optionally photos/, ordinary
photographs named <label>_<anything>.jpg that are only looked at, never trained on.

With `--minutes` the number of epochs follows from a throughput probe, with `--epochs` it is fixed. The log and the
checkpoint's metadata name the epochs that were run; the same `--epochs` and `--seed` on the same GPU and PyTorch repeat
the recipe and the random numbers, but not every bit: the fused attention's backward pass adds in no fixed order, so
accuracy comes back to within noise and the weights don't match byte for byte. It runs on a CPU too, slowly.
"""

from __future__ import annotations

import argparse
import copy
import io
import math
import os
import random
import time
import zipfile
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from vit import LABELS, MEAN, STD, VisionTransformer, build, labelled_pictures, load_safetensors, logits_of, normalise, \
    pictures_to_tensor, save_safetensors

START = time.perf_counter()


def log(*values) -> None:
    print(f"[{time.perf_counter() - START:7.1f} s]", *values, flush=True)


def decode(blob: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def read_split(path: Path, limit: int, workers: int):
    """(N x 3 x 32 x 32 bytes, labels) of one zip, in the order of the names."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        if limit:  # evenly over all the labels
            names = names[::max(1, len(names) // limit)][:limit]
        blobs = [archive.read(name) for name in names]
    with Pool(workers) as pool:
        pictures = np.stack(pool.map(decode, blobs, chunksize=256))
    return pictures_to_tensor(pictures), torch.tensor([LABELS.index(name.split("/")[1]) for name in names])


# --- augmentation, on whole batches where the pictures already are ---------------------------------------------------

def uniform(n: int, low: float, high: float, device) -> torch.Tensor:
    return torch.rand(n, device=device) * (high - low) + low


def chance(n: int, p, device) -> torch.Tensor:
    return torch.rand(n, device=device) < p


def blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial, 1 2 1 both ways."""
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], device=x.device) / 16
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel.expand(3, 1, 3, 3), groups=3)


def geometry(x: torch.Tensor, strength) -> torch.Tensor:
    """Flip, then either a shift of up to 4 pixels (what CIFAR's own framing needs) or what photographs need, where the
    object may overfill the frame or be a small part of it: a random resized crop or a zoom out over the mirrored picture.
    With some rotation and shear, all in one resampling."""
    n, device = x.shape[0], x.device
    area = uniform(n, 0.15, 1.0, device)
    aspect = torch.exp(uniform(n, -0.2877, 0.2877, device))  # 3/4 to 4/3, evenly in the logarithm
    sx, sy = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    tx, ty = uniform(n, -1, 1, device) * (1 - sx), uniform(n, -1, 1, device) * (1 - sy)

    shift = ~chance(n, 0.55 * strength, device)
    wide = chance(n, 0.3, device) & ~shift
    zoom = uniform(n, 1.0, 2.2, device)
    sx, sy = torch.where(wide, zoom, sx), torch.where(wide, zoom, sy)
    tx = torch.where(wide, uniform(n, -1, 1, device) * (zoom - 0.75), tx)
    ty = torch.where(wide, uniform(n, -1, 1, device) * (zoom - 0.75), ty)
    # A coarser grid would alias, so what is made smaller is smoothed first.
    x = torch.where((wide & (zoom > 1.3)).view(n, 1, 1, 1), blur(x), x)

    # Whole pixels need no interpolation, so these pictures stay as sharp as the test pictures.
    step = torch.randint(-4, 5, (2, n), device=device) / 16.0
    sx, sy = torch.where(shift, 1.0, sx), torch.where(shift, 1.0, sy)
    tx, ty = torch.where(shift, step[0], tx), torch.where(shift, step[1], ty)

    turned = chance(n, 0.25 * strength, device)
    angle = torch.where(turned, uniform(n, -0.35, 0.35, device), 0.0)
    sheared = chance(n, 0.15 * strength, device)
    shear = torch.where(sheared, uniform(n, -0.25, 0.25, device), 0.0)
    flip = torch.where(chance(n, 0.5, device), -1.0, 1.0)

    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([
        torch.stack([sx * cos * flip, sx * (shear * cos - sin), tx], 1),
        torch.stack([sy * sin * flip, sy * (shear * sin + cos), ty], 1)], 1)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    # Mirrored, a small object has copies around it; with its edge drawn out, it stands alone, as it mostly does.
    alone = (wide & chance(n, 0.6, device)).view(n, 1, 1, 1)
    edge = 1 - 1 / x.shape[-1]
    grid = torch.where(alone, grid.clamp(-edge, edge), grid)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(0, 1)


GREY = (0.299, 0.587, 0.114)


def colours(x: torch.Tensor, strength) -> torch.Tensor:
    """Brightness, contrast, saturation, white balance; now and then grey, posterized, solarized, blurred or sharpened."""
    n, device = x.shape[0], x.device

    def factor(p, low, high):
        f = torch.where(chance(n, p * strength, device), uniform(n, low, high, device), 1.0)
        return f.view(n, 1, 1, 1)

    grey_of = torch.tensor(GREY, device=device).view(1, 3, 1, 1)
    saturation = factor(0.4, 0.3, 1.7) * torch.where(chance(n, 0.05 * strength, device), 0.0, 1.0).view(n, 1, 1, 1)
    grey = (x * grey_of).sum(1, keepdim=True)
    x = grey + (x - grey) * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factor(0.4, 0.5, 1.6)
    x = x * factor(0.4, 0.6, 1.5)
    balance = 1 + 0.15 * (torch.rand(n, 3, 1, 1, device=device) * 2 - 1)
    x = x * torch.where(chance(n, 0.3 * strength, device).view(n, 1, 1, 1), balance, 1.0)
    x = x.clamp(0, 1)

    # Gamma 2 and 1/2 keep black and white where they are, unlike brightness.
    bent = chance(n, 0.1 * strength, device).view(n, 1, 1, 1)
    x = torch.where(bent, x.clamp(min=1e-4) ** torch.exp(uniform(n, -0.5, 0.5, device)).view(n, 1, 1, 1), x)

    levels = torch.randint(3, 6, (n, 1, 1, 1), device=device).float().exp2()
    x = torch.where(chance(n, 0.05 * strength, device).view(n, 1, 1, 1), torch.floor(x * (levels - 1) + 0.5) / (levels - 1), x)
    threshold = uniform(n, 0.5, 1.0, device).view(n, 1, 1, 1)
    solar = chance(n, 0.04 * strength, device).view(n, 1, 1, 1)
    x = torch.where(solar & (x > threshold), 1 - x, x)

    # Photographs made small by an antialiased resize are crisper than CIFAR's: negative blur sharpens.
    amount = torch.where(chance(n, 0.3 * strength, device), uniform(n, -1.0, 0.8, device), 0.0).view(n, 1, 1, 1)
    return (x + (blur(x) - x) * amount).clamp(0, 1)


def boxes(n: int, area: torch.Tensor, aspect: torch.Tensor, size: int, device) -> torch.Tensor:
    """N x 1 x size x size masks, true inside one random box per picture."""
    h, w = (area * aspect).sqrt().clamp(max=1.0) * size, (area / aspect).sqrt().clamp(max=1.0) * size
    cy, cx = uniform(n, 0, size, device), uniform(n, 0, size, device)
    at = torch.arange(size, device=device) + 0.5
    rows = (at[None] - cy[:, None]).abs() < h[:, None] / 2
    columns = (at[None] - cx[:, None]).abs() < w[:, None] / 2
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def augment(pixels: torch.Tensor, labels: torch.Tensor, strength: torch.Tensor):
    """Bytes and labels to network input and soft targets. Strength 1 is the full recipe, 0 leaves flips and shifts."""
    n, device, size = pixels.shape[0], pixels.device, pixels.shape[-1]
    x = colours(geometry(pixels.float() / 255, strength), strength)
    x = normalise(x)

    erased = boxes(n, uniform(n, 0.03, 0.25, device), torch.exp(uniform(n, -0.9, 0.9, device)), size, device)
    erased = erased & chance(n, 0.2 * strength, device).view(n, 1, 1, 1)
    x = torch.where(erased, torch.randn_like(x), x)

    smoothing = 0.1
    target = torch.full((n, len(LABELS)), smoothing / len(LABELS), device=device)
    target = target + F.one_hot(labels, len(LABELS)) * (1 - smoothing)

    # Each picture draws for itself whether it is mixed, pasted over or left alone; its partner is the batch backwards,
    # which is a random one since batches are random.
    draw = torch.rand(n, device=device)
    mixed, pasted = draw < 0.25 * strength, draw > 1 - 0.4 * strength
    lam = torch.where(mixed, 0.5 + 0.5 * uniform(n, 0, 1, device).square(), 1.0).view(n, 1, 1, 1)
    box = boxes(n, uniform(n, 0.0, 0.6, device), torch.exp(uniform(n, -0.5, 0.5, device)), size, device)
    box = box & pasted.view(n, 1, 1, 1)
    other = x.flip(0)
    x = torch.where(box, other, lam * x + (1 - lam) * other)
    own = torch.where(pasted, 1 - box.float().mean((1, 2, 3)), lam.view(n)).view(n, 1)
    return x, own * target + (1 - own) * target.flip(0)


# --- training -----------------------------------------------------------------------------------------------------

def accuracy(model, pictures, labels, autocast) -> float:
    with autocast():
        return (logits_of(model, pictures).argmax(1) == labels).double().mean().item() * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("build/train"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=8.0, help="wall-clock budget of the whole run")
    length.add_argument("--epochs", type=float, help="passes over the training pictures, instead of a budget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.06)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--drop-path", type=float, default=0.1)
    parser.add_argument("--limit", type=int, default=0, help="use only so many pictures: for trying the script out")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    # Decoding forks, so it comes before anything touches the GPU.
    train_x, train_y = read_split(args.data / "cifar10-train.zip", args.limit, args.workers)
    test_x, test_y = read_split(args.data / "cifar10-test.zip", args.limit, args.workers)
    log(f"{len(train_x)} training and {len(test_x)} test pictures")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    log(f"PyTorch {torch.__version__} on {name}")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True

    def autocast(enabled=device.type == "cuda"):
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    train_x, train_y = train_x.to(device), train_y.to(device)
    model = VisionTransformer(32, 4, args.width, args.depth, args.heads, drop_path=args.drop_path)
    model.init_weights()
    model.to(device)
    parameters = sum(p.numel() for p in model.parameters())
    log(f"{parameters} parameters")
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    # Decay on every matrix and gain keeps weights and activations without outliers, which is what low bit-widths want;
    # biases, the class token and the position embedding are left alone, as usual.
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "token" not in n and "embed" != n[-5:]]
    gains = [p for n, p in model.named_parameters() if "norm" in n and n.endswith("weight")]
    chosen = {id(p) for p in decayed + gains}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": args.weight_decay}, {"params": gains, "weight_decay": args.weight_decay / 10},
         {"params": rest, "weight_decay": 0.0}],
        lr=args.lr, betas=(0.9, 0.99), fused=device.type == "cuda")
    averages, weights = list(ema.parameters()), list(model.parameters())

    forward, prepare = model, augment
    if device.type == "cuda" and not args.no_compile:
        forward, prepare = torch.compile(model), torch.compile(augment)

    strength = torch.ones((), device=device)
    order = torch.randperm(len(train_x), device=device)
    position = 0

    def next_batch():
        nonlocal order, position
        if position + args.batch > len(order):
            order, position = torch.randperm(len(train_x), device=device), 0
        index = order[position:position + args.batch]
        position += args.batch
        return train_x[index], train_y[index]

    def step(lr: float, ema_decay: float):
        pixels, labels = next_batch()
        x, target = prepare(pixels, labels, strength)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with autocast():
            out = forward(x)
        loss = -(target * F.log_softmax(out.float(), 1)).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        torch._foreach_lerp_(averages, weights, 1 - ema_decay)
        return loss.detach(), norm

    args.batch = min(args.batch, len(train_x))
    per_epoch = max(1, len(train_x) // args.batch)

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize()

    # The probe trains at rate 0, so that compiling and timing leave the weights as they were.
    model.train()
    for _ in range(3):
        step(0.0, 0.0)
    synchronize()
    log("warmed up")
    probes = 50 if device.type == "cuda" else 2
    begin = time.perf_counter()
    for _ in range(probes):
        step(0.0, 0.0)
    synchronize()
    seconds = (time.perf_counter() - begin) / probes
    optimizer.state.clear()
    if args.epochs:
        steps = max(1, round(args.epochs * per_epoch))
    else:
        # Six per cent, and some seconds for testing at the end, are kept back.
        steps = max(1, int((args.minutes * 60 - (time.perf_counter() - START) - 12) * 0.94 / seconds))
    epochs = steps / per_epoch
    log(f"{args.batch / seconds:.0f} pictures/s, {steps} steps, {epochs:.2f} epochs")

    photos = None
    if (args.data / "photos").is_dir():
        photos = {crop: labelled_pictures(args.data / "photos", 32, crop) for crop in (1.0, 32 / 36)}

    metadata = {
        "architecture": "vit", "num_heads": args.heads, "patch_size": 4, "image_size": 32,
        "mean": ",".join(map(str, MEAN)), "std": ",".join(map(str, STD)), "crop_pct": "1.0",
        "interpolation": "bicubic", "labels": ",".join(LABELS), "layer_norm_eps": "1e-06", "license": "Apache-2.0"}

    def save(path: Path, note: str) -> None:
        save_safetensors(path, ema.state_dict(), metadata | {"note": note})

    warm = max(1, min(int(0.04 * steps), 1500))
    horizon = max(1, steps // 40)  # of the moving average, in steps
    every = max(1, steps // 16)
    last = begin = time.perf_counter()
    for i in range(steps):
        if i < warm:
            rate = args.lr * (i + 1) / warm
        else:
            rate = args.lr * 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))
        # The last sixth eases towards what the network will see in use: whole pictures, unmixed.
        strength.fill_(min(1.0, 0.25 + 0.75 * 6 * (1 - (i + 1) / steps)))
        loss, norm = step(rate, min(1 - 1 / horizon, (i + 1) / (i + 10)))
        if (i + 1) % every == 0 or i + 1 == steps:
            synchronize()
            speed = ((i + 1) % every or every) * args.batch / (time.perf_counter() - last)
            top1 = accuracy(ema, test_x, test_y, autocast)
            log(f"step {i + 1} epoch {(i + 1) / per_epoch:.1f} loss {loss.item():.4f} norm {norm.item():.3f} "
                f"lr {rate:.2e} strength {strength.item():.2f} {speed:.0f} pictures/s EMA test {top1:.2f} %")
            # A run that is cut off leaves its last eighth behind.
            if (i + 1) % (2 * every) == 0 and i + 1 < steps:
                save(args.out / "checkpoint.safetensors", f"unfinished, step {i + 1} of {steps}")
            last = time.perf_counter()
    trained = time.perf_counter() - begin

    # From here in float32 proper: no autocast, no TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    float_top1 = accuracy(ema, test_x, test_y, lambda: autocast(False))
    path = args.out / "vit_tiny_cifar10.safetensors"
    save(path, "unmeasured")
    rounded = build(*load_safetensors(path)).to(device)
    logits = logits_of(rounded, test_x)
    top1 = (logits.argmax(1) == test_y).double().mean().item() * 100
    save(path, f"ViT-Tiny, {parameters} parameters, trained from scratch on CIFAR-10 only; {top1:.2f} % top-1 on its "
               f"{len(test_y)} test pictures in float32 with these float16 weights; {epochs:.2f} epochs, seed {args.seed}")
    log(f"trained {trained:.1f} s, {epochs:.2f} epochs; test top-1 {float_top1:.2f} % in float32, "
        f"{top1:.2f} % after rounding the weights to float16")
    for crop, (names, pictures, labels) in (photos or {}).items():
        p = logits_of(rounded, pictures).softmax(1)
        right = p.argmax(1) == labels
        log(f"photos, crop_pct {crop:.3f}: {int(right.sum())}/{len(names)} right;",
            ", ".join(f"{n} as {LABELS[int(q.argmax())]} ({q.max():.2f})" for n, q, r in zip(names, p, right) if not r))
    if device.type == "cuda":
        log(f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
