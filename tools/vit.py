# SPDX-License-Identifier: Apache-2.0
"""A plain pre-norm Vision Transformer and the file format around it.

The module is deliberately small: it is the float network that the C++ engine is compared with, so everything that
could differ silently (GELU by erf, LayerNorm epsilon, class token first, qkv packed as three blocks of width) is
written out instead of being inherited from a library. Parameter names are timm's, so a checkpoint loads into
`timm.models.vision_transformer.VisionTransformer` without renaming.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# The channel statistics of the CIFAR-10 training pictures that everybody uses, so that figures can be compared.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.247, 0.2435, 0.2616)


class Attention(nn.Module):
    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, num_heads: int, hidden: int, drop_path: float, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, hidden)
        self.drop_path = drop_path

    def drop(self, x):
        """Stochastic depth: leaves out the whole branch for some of the pictures. Holds no parameters."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1.0 - self.drop_path
        mask = (torch.rand(x.shape[0], 1, 1, device=x.device) < keep).to(x.dtype)
        return x * (mask / keep)

    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch_size: int):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    def __init__(self, image_size=32, patch_size=4, width=192, depth=12, num_heads=3, mlp_ratio=4, num_classes=10,
                 drop_path=0.0, eps=1e-6):
        super().__init__()
        self.patch_embed = PatchEmbed(width, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (image_size // patch_size) ** 2 + 1, width))
        # Deeper blocks are dropped more often, as in the stochastic depth paper and in timm.
        self.blocks = nn.ModuleList(
            Block(width, num_heads, int(mlp_ratio * width), drop_path * i / max(1, depth - 1), eps)
            for i in range(depth))
        self.norm = nn.LayerNorm(width, eps=eps)
        self.head = nn.Linear(width, num_classes)

    def init_weights(self):
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def normalise(pixels: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    """N x 3 x H x W in 0..1 to what the network eats."""
    shape = (1, 3, 1, 1)
    mean = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device).view(shape)
    std = torch.tensor(std, dtype=pixels.dtype, device=pixels.device).view(shape)
    return (pixels - mean) / std


def preprocess(picture: Image.Image, size: int = 32, crop_pct: float = 1.0) -> np.ndarray:
    """The shorter side to size / crop_pct, bicubic with antialias, then the centre: H x W x 3 bytes."""
    picture = picture.convert("RGB")
    shorter = int(size / crop_pct)
    w, h = picture.size
    if w <= h:
        w, h = shorter, int(shorter * h / w)
    else:
        w, h = int(shorter * w / h), shorter
    if (w, h) != picture.size:
        picture = picture.resize((w, h), Image.Resampling.BICUBIC)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def pictures_to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """N x H x W x 3 bytes to N x 3 x H x W bytes."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).contiguous()


# safetensors is a length, a JSON header and raw bytes. Reading and writing it here keeps these tools on three packages
# and lets the header order (and so the file) be reproducible.
DTYPES = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def save_safetensors(path, tensors: dict, metadata: dict, dtype: str = "F16") -> None:
    header, blobs, offset = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, [], 0
    for name in sorted(tensors):
        blob = tensors[name].detach().cpu().to(torch.float64).numpy().astype(DTYPES[dtype])
        header[name] = {"dtype": dtype, "shape": list(blob.shape), "data_offsets": [offset, offset + blob.nbytes]}
        blobs.append(blob.tobytes())
        offset += blob.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            out.write(blob)


def load_safetensors(path) -> tuple[dict, dict]:
    """(name -> float64 tensor, metadata). float64 holds every F16 and F32 value exactly."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        begin, end = (8 + length + o for o in entry["data_offsets"])
        values = np.frombuffer(data[begin:end], dtype=DTYPES[entry["dtype"]]).astype(np.float64)
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]))
    return tensors, metadata


def build(tensors: dict, metadata: dict, dtype=torch.float32) -> VisionTransformer:
    """The network that the shapes in a checkpoint describe, with its weights, in evaluation mode."""
    width, _, patch_size, _ = tensors["patch_embed.proj.weight"].shape
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    tokens = tensors["pos_embed"].shape[1]
    model = VisionTransformer(
        image_size=int(round((tokens - 1) ** 0.5)) * patch_size, patch_size=patch_size, width=width, depth=depth,
        num_heads=int(metadata["num_heads"]), mlp_ratio=tensors["blocks.0.mlp.fc1.weight"].shape[0] / width,
        num_classes=tensors["head.weight"].shape[0], eps=float(metadata.get("layer_norm_eps", "1e-6")))
    model = model.to(dtype)
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()})
    return model.eval()


@torch.no_grad()
def logits_of(model: nn.Module, pictures: torch.Tensor, batch: int = 1000) -> torch.Tensor:
    """Logits for N x 3 x H x W bytes, in the network's own precision."""
    parameter = next(model.parameters())
    out = []
    for i in range(0, len(pictures), batch):
        x = pictures[i:i + batch].to(parameter.device).to(parameter.dtype) / 255
        out.append(model(normalise(x)).cpu())
    return torch.cat(out)


def labelled_pictures(folder, size: int = 32, crop_pct: float = 1.0):
    """(names, N x 3 x H x W bytes, labels) of pictures named <label>_<anything>."""
    names, pictures, labels = [], [], []
    for path in sorted(Path(folder).iterdir()):
        label = path.name.split("_")[0]
        if label in LABELS and path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            names.append(path.name)
            labels.append(LABELS.index(label))
            with Image.open(path) as picture:
                pictures.append(preprocess(picture, size, crop_pct))
    return names, pictures_to_tensor(np.stack(pictures)), torch.tensor(labels)
