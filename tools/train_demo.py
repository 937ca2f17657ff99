# SPDX-License-Identifier: Apache-2.0
"""Trains the bundled model: a ViT-Tiny (width 192, 12 blocks, 3 heads of 64) on CIFAR-10.

    pip install torch pillow numpy
    python tools/train_demo.py --data ../shared/data --out build/train --minutes 9

First a small convolutional network is trained for a fifth of the time; it then teaches the transformer, on the same
augmented pictures. `--teacher-share 0` leaves it out. assets/MODEL_CARD.md has the commands that made the shipped file.

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
import functools
import io
import math
import os
import random
import time
import zipfile
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from vit import LABELS, MEAN, STD, VisionTransformer, build, labelled_pictures, load_safetensors, logits_of, \
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
# Nothing here may wait for the host: the whole training step is captured in a CUDA graph. So constants live on the device
# and selections are masked_fill or products, since torch.where with a Python number copies that number over each time.


@functools.lru_cache(maxsize=None)
def constant(values: tuple, device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


def uniform(n: int, low: float, high: float, device) -> torch.Tensor:
    return torch.rand(n, device=device) * (high - low) + low


def chance(n: int, p, device) -> torch.Tensor:
    return torch.rand(n, device=device) < p


def plane(values: torch.Tensor) -> torch.Tensor:
    """One value for each picture, shaped to multiply pictures."""
    return values.view(-1, 1, 1, 1)


def blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial, 1 2 1 both ways."""
    kernel = constant((1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0), x.device).view(1, 1, 3, 3) / 16
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel.expand(3, 1, 3, 3), groups=3)


def geometry(x: torch.Tensor, strength) -> torch.Tensor:
    """Flip, then either a shift of up to 4 pixels (what CIFAR's own framing needs) or what photographs need, where the
    object may overfill the frame or be a small part of it: a random resized crop or a zoom out over the mirrored picture.
    With some rotation and shear, all in one resampling."""
    n, device, size = x.shape[0], x.device, x.shape[-1]
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
    x = torch.where(plane(wide & (zoom > 1.3)), blur(x), x)

    # Whole pixels need no interpolation, so these pictures stay as sharp as the test pictures.
    step = torch.randint(-4, 5, (2, n), device=device) * (2 / size)
    sx, sy = sx.masked_fill(shift, 1.0), sy.masked_fill(shift, 1.0)
    tx, ty = torch.where(shift, step[0], tx), torch.where(shift, step[1], ty)

    angle = uniform(n, -0.35, 0.35, device) * chance(n, 0.25 * strength, device)
    shear = uniform(n, -0.25, 0.25, device) * chance(n, 0.15 * strength, device)
    flip = 1.0 - 2.0 * chance(n, 0.5, device)

    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([
        torch.stack([sx * cos * flip, sx * (shear * cos - sin), tx], 1),
        torch.stack([sy * sin * flip, sy * (shear * sin + cos), ty], 1)
    ], 1)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    # Mirrored, a small object has copies around it; with its edge drawn out, it stands alone, as it mostly does.
    edge = 1 - 1 / size
    grid = torch.where(plane(wide & chance(n, 0.6, device)), grid.clamp(-edge, edge), grid)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(0, 1)


def colours(x: torch.Tensor, strength) -> torch.Tensor:
    """Brightness, contrast, saturation, white balance; now and then grey, posterized, solarized, blurred or sharpened."""
    n, device = x.shape[0], x.device

    def factor(p, low, high):
        return plane(1 + (uniform(n, low, high, device) - 1) * chance(n, p * strength, device))

    saturation = factor(0.4, 0.3, 1.7) * plane(~chance(n, 0.05 * strength, device))
    grey = (x * constant((0.299, 0.587, 0.114), device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    x = grey + (x - grey) * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factor(0.4, 0.5, 1.6)
    x = x * factor(0.4, 0.6, 1.5)
    balance = 0.15 * (torch.rand(n, 3, 1, 1, device=device) * 2 - 1)
    x = x * (1 + balance * plane(chance(n, 0.3 * strength, device)))
    x = x.clamp(0, 1)

    # A gamma keeps black and white where they are, unlike brightness.
    bent = x.clamp(min=1e-4)**plane(torch.exp(uniform(n, -0.5, 0.5, device)))
    x = torch.where(plane(chance(n, 0.1 * strength, device)), bent, x)
    levels = torch.randint(3, 6, (n, 1, 1, 1), device=device).float().exp2() - 1
    x = torch.where(plane(chance(n, 0.05 * strength, device)), torch.floor(x * levels + 0.5) / levels, x)
    solar = plane(chance(n, 0.04 * strength, device)) & (x > plane(uniform(n, 0.5, 1.0, device)))
    x = torch.where(solar, 1 - x, x)
    # Photographs made small by an antialiased resize are crisper than CIFAR's: negative blur sharpens.
    amount = plane(uniform(n, -1.0, 0.8, device) * chance(n, 0.3 * strength, device))
    return (x + (blur(x) - x) * amount).clamp(0, 1)


def boxes(n: int, area: torch.Tensor, aspect: torch.Tensor, size: int, device) -> torch.Tensor:
    """N x 1 x size x size masks, true inside one random box per picture."""
    h, w = (area * aspect).sqrt().clamp(max=1.0) * size, (area / aspect).sqrt().clamp(max=1.0) * size
    cy, cx = uniform(n, 0, size, device), uniform(n, 0, size, device)
    at = torch.arange(size, device=device) + 0.5
    rows = (at[None] - cy[:, None]).abs() < h[:, None] / 2
    columns = (at[None] - cx[:, None]).abs() < w[:, None] / 2
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def augment(pixels: torch.Tensor, labels: torch.Tensor, strength: torch.Tensor, smoothing: float):
    """Bytes and labels to network input and soft targets. Strength 1 is the full recipe, 0 leaves flips and shifts."""
    n, device, size = pixels.shape[0], pixels.device, pixels.shape[-1]
    x = colours(geometry(pixels.float() / 255, strength), strength)
    x = (x - constant(MEAN, device).view(1, 3, 1, 1)) / constant(STD, device).view(1, 3, 1, 1)

    erased = boxes(n, uniform(n, 0.03, 0.25, device), torch.exp(uniform(n, -0.9, 0.9, device)), size, device)
    x = torch.where(erased & plane(chance(n, 0.2 * strength, device)), torch.randn_like(x), x)

    target = (labels[:, None] == torch.arange(len(LABELS), device=device)).float()
    target = target * (1 - smoothing) + smoothing / len(LABELS)

    # Each picture draws for itself whether it is mixed, pasted over or left alone; its partner is the batch backwards,
    # which is a random one since batches are random.
    draw = torch.rand(n, device=device)
    mixed, pasted = draw < 0.25 * strength, draw > 1 - 0.4 * strength
    lam = 1 - (0.5 - 0.5 * torch.rand(n, device=device).square()) * mixed
    box = boxes(n, uniform(n, 0.0, 0.6, device), torch.exp(uniform(n, -0.5, 0.5, device)), size, device) & plane(pasted)
    other = x.flip(0)
    x = torch.where(box, other, plane(lam) * x + (1 - plane(lam)) * other)
    own = torch.where(pasted, 1 - box.float().mean((1, 2, 3)), lam).view(n, 1)
    return x, own * target + (1 - own) * target.flip(0)


# --- the teacher ---------------------------------------------------------------------------------------------------


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):

    def __init__(self, width: int):
        super().__init__()
        self.branch = nn.Sequential(convolution(width, width), convolution(width, width))

    def forward(self, x):
        return x + self.branch(x)


def teacher_network(width: int) -> nn.Module:
    """The nine-layer residual network of the DAWNBench entries: the quickest good convolutional one."""
    pool = nn.MaxPool2d(2)
    return nn.Sequential(convolution(3, width), convolution(width, 2 * width), pool, Residual(2 * width),
                         convolution(2 * width, 4 * width), pool, Residual(4 * width),
                         convolution(4 * width, 8 * width), pool, Residual(8 * width), nn.AdaptiveMaxPool2d(1),
                         nn.Flatten(), nn.Linear(8 * width, len(LABELS)))


# --- training -----------------------------------------------------------------------------------------------------


class Trainer:
    """Steps of one network over shuffled batches; on a GPU the whole step is one captured graph, because launching some
    hundred small kernels from Python took as long as running them."""

    def __init__(self, model, loss_of, data, args, groups, lr: float, smoothing: float):
        self.model, self.loss_of, self.lr, self.smoothing = model, loss_of, lr, smoothing
        self.train_x, self.train_y = data
        self.device = self.train_x.device
        self.cuda = self.device.type == "cuda"
        self.batch = min(args.batch, len(self.train_x))
        self.per_epoch = len(self.train_x) // self.batch
        self.rate = torch.zeros((), device=self.device)
        self.strength = torch.ones((), device=self.device)
        self.index = torch.zeros(self.batch, dtype=torch.long, device=self.device)
        self.order, self.position = None, 0
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, betas=(0.9, 0.99), fused=True, capturable=self.cuda)
        self.graph = None

    def body(self):
        x, target = augment(self.train_x[self.index], self.train_y[self.index], self.strength, self.smoothing)
        # A cache of cast weights would outlive the graph's memory.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            loss = self.loss_of(x, target)
        loss.backward()
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.loss = loss.detach()

    def step(self):
        if self.order is None or self.position + self.batch > len(self.order):
            self.order, self.position = torch.randperm(len(self.train_x), device=self.device), 0
        self.index.copy_(self.order[self.position:self.position + self.batch])
        self.position += self.batch
        if self.graph:
            self.graph.replay()
        else:
            self.optimizer.zero_grad(set_to_none=True)
            self.body()

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def probe(self) -> float:
        """Warms up, captures, and returns the seconds a step takes. At rate 0, so that the weights stay as they were."""
        self.model.train()
        self.rate.zero_()
        if self.cuda:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self.step()
            torch.cuda.current_stream().wait_stream(stream)
            self.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph):
                    self.body()
                self.graph = graph
            except RuntimeError as error:
                torch.cuda.synchronize()
                log("no graph:", str(error).splitlines()[0])
        self.step()
        self.synchronize()
        steps = 30 if self.cuda else 2
        begin = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.synchronize()
        seconds = (time.perf_counter() - begin) / steps
        for state in self.optimizer.state.values():  # in place, where the graph finds it
            for value in state.values():
                value.zero_()
        return seconds

    def schedule(self, i: int, steps: int) -> None:
        warm = max(1, min(steps // 25, 1500))
        falling = 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))
        self.rate.fill_(self.lr * ((i + 1) / warm if i < warm else falling))
        # The last sixth eases towards what the network will see in use: whole pictures, unmixed.
        self.strength.fill_(min(1.0, 0.25 + 0.75 * 6 * (1 - (i + 1) / steps)))


def accuracy(model, pictures, labels, bfloat16: bool) -> float:
    with torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=bfloat16):
        return (logits_of(model, pictures).argmax(1) == labels).double().mean().item() * 100


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("build/train"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=9.0, help="wall-clock budget of the whole run")
    length.add_argument("--epochs", type=float, help="passes over the training pictures, instead of a budget")
    parser.add_argument("--teacher-share",
                        type=float,
                        default=0.2,
                        help="of the budget, for the teacher; 0: no teacher")
    parser.add_argument("--teacher-epochs", type=float, help="the teacher's passes, with --epochs; none: no teacher")
    parser.add_argument("--teacher-width", type=int, default=64)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from, instead of random weights")
    parser.add_argument("--keep",
                        type=float,
                        default=0.0,
                        help="with --start, its share in the average of both that is saved")
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
    return parser


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass
class Pictures:
    """Both splits, each (N x 3 x 32 x 32 bytes, labels); the training pictures lie where the training runs."""
    train: tuple
    test: tuple
    device: torch.device

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"


def read_pictures(args) -> Pictures:
    # Decoding forks, so it comes before anything touches the GPU.
    train = read_split(args.data / "cifar10-train.zip", args.limit, args.workers)
    test = read_split(args.data / "cifar10-test.zip", args.limit, args.workers)
    log(f"{len(train[0])} training and {len(test[0])} test pictures")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}")
    return Pictures(tuple(part.to(device) for part in train), test, device)


def train(trainer: Trainer, what: str, epochs, budget, each=lambda i, steps: None, progress=lambda i, steps: ""):
    """Trains for so many epochs, or for the seconds that budget() gives, and returns the epochs. each(i, steps) is called
    after every step, progress(i, steps) twelve times, for what it adds to the log."""
    seconds = trainer.probe()
    steps = max(1, round(epochs * trainer.per_epoch) if epochs else int(budget() * 0.95 / seconds))
    log(f"{what}: {trainer.batch / seconds:.0f} pictures/s, {steps} steps, {steps / trainer.per_epoch:.2f} epochs")
    every = max(1, steps // 12)
    last = time.perf_counter()
    for i in range(steps):
        trainer.schedule(i, steps)
        trainer.step()
        each(i, steps)
        if (i + 1) % every == 0 or i + 1 == steps:
            trainer.synchronize()
            speed = ((i + 1) % every or every) * trainer.batch / (time.perf_counter() - last)
            log(
                f"{what} step {i + 1} loss {trainer.loss.item():.4f} norm {trainer.norm.item():.3f} lr "
                f"{trainer.rate.item():.2e} {speed:.0f} pictures/s", progress(i + 1, steps))
            last = time.perf_counter()
    return steps / trainer.per_epoch


def trained_teacher(args, pictures: Pictures):
    """(network, what it is in words): one that sees the same augmented pictures passes on what convolutions know about
    pictures from the start and a transformer would need far more of them to find out. (None, "") where none is asked
    for."""
    if not args.teacher_epochs and (args.epochs or args.teacher_share <= 0):
        return None, ""
    teacher = teacher_network(args.teacher_width).to(pictures.device, memory_format=torch.channels_last)

    def loss_of(x, target):
        out = teacher(x.contiguous(memory_format=torch.channels_last))
        return -(target * F.log_softmax(out.float(), 1)).sum(1).mean()

    groups = [{"params": list(teacher.parameters()), "weight_decay": 0.1}]
    trainer = Trainer(teacher, loss_of, pictures.train, args, groups, 2e-3, 0.0)
    epochs = train(trainer, "teacher", args.teacher_epochs, lambda: args.minutes * 60 * args.teacher_share)
    teacher.eval().requires_grad_(False)
    top1 = accuracy(teacher, *pictures.test, pictures.cuda)
    log(f"teacher: {top1:.2f} % top-1 after {epochs:.2f} epochs")
    return teacher, f", taught by a nine-layer residual network of {top1:.2f} % top-1 ({epochs:.2f} epochs)"


def new_model(args, device: torch.device):
    """(network, the weights of --start it begins with, by name; none without)"""
    model = VisionTransformer(32, 4, args.width, args.depth, args.heads, drop_path=args.drop_path)
    model.init_weights()
    start = {}
    if args.start:
        start = {name: tensor.float().to(device) for name, tensor in load_safetensors(args.start)[0].items()}
        model.load_state_dict(start)
    return model.to(device), start


def decay_groups(model: nn.Module, weight_decay: float) -> list:
    """Decay on every matrix and some on the gains keeps weights and activations without outliers, which is what low
    bit-widths want; biases, the class token and the position embedding are left alone, as usual."""
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and n not in ("cls_token", "pos_embed")]
    gains = [p for n, p in model.named_parameters() if "norm" in n and n.endswith("weight")]
    chosen = {id(p) for p in decayed + gains}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": gains, "weight_decay": weight_decay / 10},
            {"params": rest, "weight_decay": 0.0}]


def student_loss(model: nn.Module, teacher):
    """loss(x, target): cross-entropy; with a teacher a fifth of it, and four fifths of the divergence from him."""

    def loss_of(x, target):
        out = model(x).float()
        loss = -(target * F.log_softmax(out, 1)).sum(1).mean()
        if teacher is None:
            return loss
        with torch.no_grad():
            lesson = teacher(x.contiguous(memory_format=torch.channels_last)).float()
        # Temperature 2 shows what the teacher thinks of the labels that are not the first; 4 is its square, which keeps
        # the gradient's size.
        divergence = F.kl_div(F.log_softmax(out / 2, 1),
                              F.log_softmax(lesson / 2, 1),
                              log_target=True,
                              reduction="batchmean")
        return 0.2 * loss + 0.8 * 4 * divergence

    return loss_of


def save(path: Path, model: nn.Module, heads: int, note: str) -> None:
    """The checkpoint, with everything in its metadata that tensors cannot tell."""
    save_safetensors(
        path, model.state_dict(), {
            "architecture": "vit",
            "num_heads": heads,
            "patch_size": 4,
            "image_size": 32,
            "mean": ",".join(map(str, MEAN)),
            "std": ",".join(map(str, STD)),
            "crop_pct": "1.0",
            "interpolation": "bicubic",
            "labels": ",".join(LABELS),
            "layer_norm_eps": "1e-06",
            "license": "Apache-2.0",
            "note": note
        })


def train_student(args, pictures: Pictures, model: nn.Module, teacher):
    """(the moving average of the weights, as a network; the epochs it took)"""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    averages, weights = list(average.parameters()), list(model.parameters())

    def each(i, steps):
        decay = min(1 - 1 / max(1, steps // 40), (i + 1) / (i + 10))
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def progress(i, steps):
        # A run that is cut off leaves its last twelfth behind.
        if i < steps:
            save(args.out / "checkpoint.safetensors", average, args.heads, f"unfinished, step {i} of {steps}")
        return f"moving average: {accuracy(average, *pictures.test, pictures.cuda):.2f} % top-1"

    trainer = Trainer(model, student_loss(model, teacher), pictures.train, args, decay_groups(model, args.weight_decay),
                      args.lr, 0.1 if teacher is None else 0.0)
    # Some seconds are kept back for testing.
    epochs = train(trainer, "ViT", args.epochs, lambda: args.minutes * 60 - (time.perf_counter() - START) - 8, each,
                   progress)
    return average, epochs


def save_measured(args, pictures: Pictures, model: nn.Module, lesson: str, epochs: float) -> nn.Module:
    """Writes the checkpoint with its accuracy in its note. The network as it was saved, in float16."""
    # From here in float32 proper, without bfloat16.
    float_top1 = accuracy(model, *pictures.test, False)
    path = args.out / "vit_tiny_cifar10.safetensors"
    save(path, model, args.heads, "unmeasured")
    rounded = build(*load_safetensors(path)).to(pictures.device)
    top1 = accuracy(rounded, *pictures.test, False)
    parameters = sum(p.numel() for p in model.parameters())
    save(
        path, model, args.heads, f"ViT with {parameters} parameters, trained on CIFAR-10 only{lesson}; {top1:.2f} % "
        f"top-1 on its {len(pictures.test[1])} test pictures in float32 with these float16 weights; {epochs:.2f} epochs, "
        f"seed {args.seed}")
    log(f"test top-1 {float_top1:.2f} % in float32, {top1:.2f} % after rounding the weights to float16")
    return rounded


def look_at_photos(folder: Path, model: nn.Module) -> None:
    for crop in (1.0, 32 / 36):
        names, pictures, labels = labelled_pictures(folder, 32, crop)
        p = logits_of(model, pictures).softmax(1)
        right = p.argmax(1) == labels
        log(f"photos, crop_pct {crop:.3f}: {int(right.sum())}/{len(names)} right;",
            ", ".join(f"{n} as {LABELS[int(q.argmax())]} ({q.max():.2f})" for n, q, r in zip(names, p, right) if not r))


def main() -> None:
    args = argument_parser().parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seed_everything(args.seed)
    pictures = read_pictures(args)
    teacher, lesson = trained_teacher(args, pictures)
    model, start = new_model(args, pictures.device)
    log(f"{sum(p.numel() for p in model.parameters())} parameters")
    begin = time.perf_counter()
    average, epochs = train_student(args, pictures, model, teacher)
    log(f"trained {time.perf_counter() - begin:.1f} s, {epochs:.2f} epochs")
    # What was learnt twice from one start lies in one basin: the average is better than either end, on pictures like the
    # training pictures and on others (robust fine-tuning, arXiv 2109.01903).
    if start and args.keep > 0:
        for name, tensor in average.state_dict().items():
            tensor.lerp_(start[name], args.keep)
    rounded = save_measured(args, pictures, average, lesson, epochs)
    if (args.data / "photos").is_dir():
        look_at_photos(args.data / "photos", rounded)
    if pictures.cuda:
        log(f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
