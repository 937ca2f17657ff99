# SPDX-License-Identifier: Apache-2.0
"""Draws the sample pictures in assets/samples: no photograph, so nobody's rights, and the same bytes each time.

    python tools/make_samples.py                     # draws, then asks the bundled model, if PyTorch is there

Everything is outlines, noise and light. An outline is a closed spline through a few points; its blurred mask is taken for
a height field and lit from the upper left, which makes flat shapes look round. Pictures are drawn at twice their size and
made small at the end. The subject stays inside the middle square, which is what the network gets to see.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

W, H, S = 480, 360, 2  # size of a picture, and how much larger it is drawn


def spline(points, closed=True, steps=10):
    """A Catmull-Rom curve through the points."""
    p = np.asarray(points, float)
    n = len(p)
    at = (lambda i: p[i % n]) if closed else (lambda i: p[min(max(i, 0), n - 1)])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    out = []
    for i in range(n if closed else n - 1):
        a, b, c, d = at(i - 1), at(i), at(i + 1), at(i + 2)
        out.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate(out + ([] if closed else [p[-1:]]))


def ellipse(x, y, rx, ry, turn=0.0, steps=48):
    a = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    u, v = rx * np.cos(a), ry * np.sin(a)
    return np.stack([x + u * c - v * s, y + u * s + v * c], 1)


def box(x0, y0, x1, y1, r=0.0):
    if r == 0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    corner = np.radians(np.linspace(0, 90, 6))
    out = []
    for cx, cy, turn in ((x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180), (x1 - r, y0 + r, 270)):
        a = corner + np.radians(turn)
        out.append(np.stack([cx + r * np.cos(a), cy + r * np.sin(a)], 1))
    return np.concatenate(out)


def limb(points, widths):
    """The outline of a line through the points that is as wide at each as the widths say."""
    p = spline(points, closed=False, steps=8)
    w = np.interp(np.linspace(0, 1, len(p)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    d = np.gradient(p, axis=0)
    normal = np.stack([-d[:, 1], d[:, 0]], 1) / (np.hypot(d[:, :1], d[:, 1:]) + 1e-9)
    return np.concatenate([p + normal * w, (p - normal * w)[::-1]])


def join(p, *outlines):
    """One mask of several outlines, so that the light sees no seam between them."""
    return np.max([p.mask(outline) for outline in outlines], axis=0)


def noise(seed, cell, octaves=4, stretch=1.0):
    """Fractal noise in -1..1; `stretch` makes it longer than high."""
    rng = np.random.default_rng(seed)
    out, weight, total = np.zeros((H * S, W * S), np.float32), 1.0, 0.0
    for _ in range(octaves):
        h, w = max(2, int(H / cell) + 2), max(2, int(W / (cell * stretch)) + 2)
        grid = Image.fromarray(rng.random((h, w), np.float32))
        out += weight * np.asarray(grid.resize((W * S, H * S), Image.Resampling.BICUBIC))
        total += weight
        weight, cell = weight * 0.5, cell / 2
    out = out / total
    return np.clip((out - out.mean()) / (2.5 * out.std()), -1, 1)


def blur(mask, radius):
    image = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius * S)), np.float32) / 255


YY, XX = np.mgrid[0:H * S, 0:W * S].astype(np.float32) / S


class Picture:

    def __init__(self, top, bottom):
        self.pixels = np.zeros((H * S, W * S, 3), np.float32)
        self.gradient(top, bottom, 0, H)

    def gradient(self, top, bottom, y0, y1):
        t = np.clip((YY - y0) / (y1 - y0), 0, 1)[..., None]
        rows = (YY >= y0)[..., None]
        self.pixels = np.where(rows, np.array(top) * (1 - t) + np.array(bottom) * t, self.pixels).astype(np.float32)

    def mask(self, outline):
        image = Image.new("L", (W * S, H * S))
        ImageDraw.Draw(image).polygon([(x * S, y * S) for x, y in outline], fill=255)
        return np.asarray(image, np.float32) / 255

    def lay(self, mask, colour, strength=1.0):
        m = (mask * strength)[..., None]
        self.pixels = self.pixels * (1 - m) + np.asarray(colour, np.float32) * m

    def shade(self, mask, radius):
        """Light on the mask blown up like a cushion, around 1."""
        height = 0.6 * blur(mask, radius) + 0.4 * blur(mask, radius / 3)
        gy, gx = np.gradient(height * radius * 1.6 * S)
        length = np.sqrt(gx * gx + gy * gy + 1)
        return 0.62 + 0.62 * (0.45 * gx + 0.7 * gy + 0.55) / length

    def fill(self, outline, colour, low=None, round_=0.0, rough=0.0, grain=None, soft=0.0, inside=None):
        """`colour` to `low` from top to bottom; `round_` lights it as a cushion; `grain` is a noise of strength `rough`;
        `inside` clips it to another mask."""
        mask = outline if isinstance(outline, np.ndarray) and outline.shape == YY.shape else self.mask(outline)
        whole = mask
        if soft:
            mask = blur(mask, soft)
        if inside is not None:
            mask = mask * inside
        rows = np.nonzero(mask.max(1) > 0.1)[0]
        top, bottom = (rows[0] / S, rows[-1] / S + 1) if len(rows) else (0, 1)
        t = np.clip((YY - top) / (bottom - top), 0, 1)[..., None]
        paint = np.array(colour, np.float32) * (1 - t) + np.array(low if low is not None else colour, np.float32) * t
        if round_:
            paint = paint * self.shade(whole, round_)[..., None]
        if grain is not None:
            paint = paint * (1 + rough * grain)[..., None]
        self.lay(mask, np.clip(paint, 0, 255))
        return mask

    def shadow(self, outline, strength=0.45, soft=6.0):
        self.lay(blur(self.mask(outline), soft), (8, 12, 16), strength)

    def glow(self, x, y, radius, colour, strength):
        d = ((XX - x)**2 + (YY - y)**2) / radius**2
        self.lay(np.exp(-d), colour, strength)

    def image(self):
        """Down to size, with a light vignette and a little grain: plain areas show bands otherwise."""
        d = ((XX - W / 2) / W)**2 + ((YY - H / 2) / H)**2
        lit = self.pixels * (1.04 - 0.35 * d)[..., None]
        lit += np.random.default_rng(5).normal(0, 2.2, lit.shape[:2])[..., None]
        return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).resize((W, H), Image.Resampling.LANCZOS)


def sky(p, seed, cover=0.35, colour=(255, 255, 255), until=H):
    clouds = np.clip((noise(seed, 150, 6, 2.2) + cover) * 1.3, 0, 1) * np.clip((until - YY) / 120, 0, 1)
    p.lay(clouds**1.5, colour, 0.85)


def grass(p, y0, near, far, seed):
    p.gradient(far, near, y0, H)
    rows = np.clip((YY - y0) / 20, 0, 1)
    blades = noise(seed, 7, 3, 0.35) * 0.16 + noise(seed + 1, 60, 3, 2) * 0.14
    p.pixels = p.pixels * (1 + (blades * rows))[..., None]


def bokeh(p, seed, colours, count, radius):
    """Soft discs, as of leaves far out of focus."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        colour = np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.8, 1.2)
        r = radius * rng.uniform(0.5, 1.3)
        p.fill(ellipse(rng.uniform(0, W), rng.uniform(0, H), r, r), np.clip(colour, 0, 255), soft=r / 2.2)


def trees(p, y, seed, dark, light, height=70):
    edge = noise(seed, 45, 5, 1.0)[H * S // 2]
    crown = (YY > (y - height * 0.6 - height * 0.55 * edge[None, :])) & (YY < y + 4)
    leaves = noise(seed + 1, 16, 4)
    m = blur(crown.astype(np.float32), 1.2)
    paint = np.array(dark) + (np.array(light) - np.array(dark)) * np.clip(0.45 + 0.6 * leaves, 0, 1)[..., None]
    p.lay(m, paint)


def wheel(p, x, y, r, rim=(196, 200, 206)):
    p.fill(ellipse(x, y, r, r), (38, 38, 42), (16, 16, 18), round_=r / 3)
    p.fill(ellipse(x, y, r * 0.62, r * 0.62), rim, np.array(rim) * 0.7, round_=r / 4)
    for k in range(5):
        a = k * 2 * np.pi / 5 + 0.3
        p.fill(ellipse(x + r * 0.38 * np.cos(a), y + r * 0.38 * np.sin(a), r * 0.12, r * 0.17, np.degrees(a)),
               (58, 60, 66))
    p.fill(ellipse(x, y, r * 0.13, r * 0.13), (90, 92, 98))


def road(p, y0, seed):
    p.gradient((118, 120, 124), (84, 86, 92), y0, H)
    p.pixels = np.where((YY >= y0)[..., None], p.pixels * (1 + 0.06 * noise(seed, 3, 2, 2))[..., None], p.pixels)
    p.fill(box(-10, y0, W + 10, y0 + 5), (176, 172, 164), (140, 136, 130))
    for x in range(-40, W, 110):
        p.fill([(x, H - 22), (x + 62, H - 22), (x + 56, H - 15), (x - 8, H - 15)], (226, 222, 206), soft=0.6)


# --- the pictures ------------------------------------------------------------------------------------------------------


def airplane():
    p = Picture((46, 108, 188), (176, 212, 238))
    sky(p, 11, 0.05)
    white, under = (250, 251, 253), (168, 180, 196)
    # Far wing and far tailplane, then the body, then the near ones, as one would paint it.
    p.fill([(232, 168), (262, 166), (330, 118), (314, 116)], (150, 160, 174), (176, 184, 196), soft=0.5)
    p.fill([(356, 160), (376, 158), (404, 138), (393, 137)], (150, 160, 174), soft=0.5)
    p.fill(spline([(352, 168), (372, 128), (392, 100), (410, 98), (404, 130), (396, 166)]), (28, 74, 156),
           (20, 52, 120),
           round_=9)
    p.fill(spline([(76, 192), (88, 178), (118, 167), (180, 162), (270, 161), (350, 162), (400, 158), (416, 158),
                   (408, 168), (362, 190), (300, 205), (210, 212), (130, 211), (92, 204)]),
           white,
           under,
           round_=15)
    p.fill(spline([(80, 197), (130, 203), (230, 203), (330, 190), (404, 167), (362, 190), (300, 205), (210, 212),
                   (130, 211), (92, 205)]), (52, 98, 176), (24, 60, 130),
           soft=0.6)
    p.fill(spline([(88, 183), (98, 176), (110, 173), (110, 181), (98, 185)]), (36, 44, 58), (70, 84, 104))
    for x in range(126, 364, 11):
        y = 180 - (x - 240) * 0.004 - max(0, x - 300) * 0.06
        p.fill(box(x, y - 4, x + 5, y + 3, 1.8), (58, 72, 96))
    for x in (118, 342):
        p.fill(box(x - 3, 174, x + 5, 193, 2), (214, 220, 228), (190, 198, 208))
    p.shadow([(196, 206), (286, 200), (340, 240), (326, 246)], 0.22, 4)
    p.fill([(188, 194), (262, 192), (356, 258), (372, 276), (350, 272), (236, 214)], (226, 232, 240), (132, 146, 166),
           soft=0.6)
    p.fill([(188, 194), (206, 194), (262, 222), (352, 271), (350, 273), (236, 214)], (250, 252, 254), soft=0.8)
    p.fill(spline([(206, 222), (222, 215), (252, 217), (262, 226), (250, 238), (220, 238), (207, 232)]),
           (238, 241, 246), (126, 138, 156),
           round_=7)
    p.fill(ellipse(209, 227, 5, 10), (44, 52, 66), (80, 90, 106))
    p.fill([(362, 164), (392, 162), (424, 186), (410, 188)], (222, 229, 238), (150, 162, 180), soft=0.5)
    return p


def automobile():
    p = Picture((128, 178, 224), (222, 234, 242))
    sky(p, 21, 0.1, until=170)
    trees(p, 190, 22, (40, 74, 44), (96, 140, 72), 60)
    grass(p, 188, (112, 146, 70), (134, 160, 84), 23)
    road(p, 232, 24)
    p.shadow(ellipse(240, 291, 182, 15), 0.75, 7)
    red, dark = (220, 34, 36), (128, 12, 18)
    body = spline([(66, 262), (64, 236), (74, 216), (108, 203), (146, 196), (172, 166), (200, 152), (262, 149),
                   (302, 154), (336, 186), (350, 196), (396, 203), (415, 218), (418, 246), (414, 268), (390, 276),
                   (240, 280), (90, 276)])
    p.fill(body, red, dark, round_=18)
    glass = spline([(166, 194), (186, 168), (206, 159), (258, 156), (294, 160), (322, 188), (318, 195), (240, 197)])
    p.fill(glass, (66, 86, 106), (28, 38, 52))
    inside = p.mask(glass)
    p.fill([(186, 196), (214, 156), (232, 156), (204, 196)], (158, 186, 206), inside=inside * 0.5)
    p.fill(box(243, 152, 251, 198), (168, 18, 24), inside=inside)
    p.fill(limb([(74, 224), (150, 212), (250, 208), (410, 218)], [1.5, 3, 3, 1.5]), (255, 138, 130), soft=1.2)
    p.fill(limb([(96, 262), (240, 268), (396, 262)], [3, 4, 3]), (96, 8, 14), soft=1)
    for x in (172, 248, 322):
        p.fill(limb([(x, 200), (x + (4 if x < 300 else -6), 236), (x + 2, 264)], [1.2, 1.2, 1.2]), (110, 10, 16))
    for x in (206, 278):
        p.fill(box(x, 216, x + 17, 220, 2), (230, 96, 92), (110, 12, 16))
    p.fill(spline([(66, 232), (74, 218), (96, 212), (98, 224), (84, 234)]), (252, 250, 232), (196, 204, 214), round_=3)
    p.fill(spline([(404, 212), (414, 222), (417, 236), (406, 232)]), (255, 120, 60), (180, 20, 20))
    p.fill(box(62, 254, 96, 264, 3), (60, 20, 24), (30, 14, 18))
    for x in (130, 348):
        p.fill(ellipse(x, 268, 38, 38), (22, 10, 12), inside=p.mask(body))
        wheel(p, x, 269, 31)
    p.fill(spline([(172, 196), (162, 188), (150, 190), (152, 199), (166, 201)]), (236, 50, 48), (130, 14, 18), round_=3)
    return p


def bird():
    p = Picture((116, 156, 92), (66, 110, 66))
    bokeh(p, 31, [(148, 184, 104), (84, 130, 76), (190, 208, 132), (60, 104, 64)], 26, 60)
    bark = noise(33, 9, 4, 4)
    p.fill(limb([(-10, 306), (110, 292), (240, 296), (360, 286), (490, 262)], [26, 22, 20, 17, 12]), (128, 98, 72),
           (62, 44, 32),
           round_=7,
           rough=0.3,
           grain=bark)
    p.fill(limb([(330, 288), (372, 312), (420, 326)], [9, 6, 3]), (110, 84, 62), (62, 44, 32),
           round_=3,
           rough=0.3,
           grain=bark)
    feathers = noise(34, 5, 3, 2.5)
    p.fill(limb([(294, 250), (342, 292), (388, 336)], [34, 26, 30]), (78, 66, 60), (46, 38, 36),
           round_=5,
           rough=0.25,
           grain=feathers)
    p.fill(spline([(140, 122), (152, 96), (180, 80), (212, 84), (232, 106), (246, 134), (284, 170), (318, 216),
                   (326, 256), (306, 276), (262, 288), (216, 284), (178, 258), (160, 222), (160, 180), (154, 150)]),
           (158, 110, 76), (196, 168, 138),
           round_=26,
           rough=0.12,
           grain=feathers)
    p.fill(spline([(146, 128), (176, 126), (194, 144), (206, 190), (222, 240), (250, 284), (216, 284), (178, 258),
                   (160, 222), (160, 180), (154, 150)]), (232, 112, 44), (244, 222, 190),
           round_=18,
           rough=0.12,
           grain=feathers,
           soft=2.5)
    p.fill(spline([(222, 152), (252, 156), (290, 190), (326, 244), (350, 288), (314, 278), (272, 262), (238, 226),
                   (222, 188)]), (104, 84, 72), (62, 50, 46),
           round_=12,
           rough=0.25,
           grain=feathers)
    for k in range(4):
        p.fill(limb([(240 + 8 * k, 182 + 16 * k), (280 + 8 * k, 214 + 14 * k), (322 + 4 * k, 262 + 6 * k)], [1, 3, 1]),
               (46, 36, 34),
               soft=0.7)
        p.fill(limb([(238 + 8 * k, 178 + 16 * k), (278 + 8 * k, 209 + 14 * k), (318 + 4 * k, 256 + 6 * k)], [1, 2, 1]),
               (176, 150, 128),
               soft=0.7)
    p.fill([(142, 112), (140, 128), (108, 127)], (70, 62, 56), (34, 30, 28), round_=3)
    p.fill(limb([(141, 120), (108, 126)], [1.4, 0.8]), (20, 18, 16))
    p.fill(ellipse(169, 111, 8, 8), (20, 14, 12), (44, 32, 26))
    p.fill(ellipse(166, 108, 2.3, 2.3), (250, 250, 250))
    for x in (214, 242):
        p.fill(limb([(x, 280), (x + 2, 297)], [4, 3]), (96, 66, 48))
        for dx in (-9, 0, 9):
            p.fill(limb([(x + 2, 296), (x + dx, 304)], [3, 2]), (96, 66, 48))
    return p


def cat():
    p = Picture((168, 142, 118), (112, 88, 72))
    bokeh(p, 41, [(188, 162, 134), (140, 112, 92), (206, 184, 158)], 14, 80)
    fur = noise(42, 4, 3, 0.5) * 0.7 + noise(43, 9, 3, 0.6) * 0.5
    grey, dark, light = (150, 142, 134), (58, 52, 48), (226, 218, 208)
    p.fill(spline([(112, 380), (120, 300), (160, 262), (240, 250), (320, 262), (360, 300), (370, 380)]),
           grey, (112, 104, 98),
           round_=30,
           rough=0.22,
           grain=fur)
    for x, s in ((-1, -1), (1, 1)):
        p.fill(spline([(240 + x * 116, 40), (240 + x * 124, 92), (240 + x * 106, 156), (240 + x * 40, 108),
                       (240 + x * 76, 70)]),
               grey, (120, 112, 104),
               round_=12,
               rough=0.2,
               grain=fur)
        p.fill(spline([(240 + x * 108, 62), (240 + x * 110, 100), (240 + x * 98, 132), (240 + x * 62, 106),
                       (240 + x * 84, 84)]), (206, 152, 142), (150, 104, 98),
               soft=2,
               rough=0.15,
               grain=fur)
    head = spline([(240, 84), (296, 92), (344, 126), (364, 178), (358, 226), (322, 270), (276, 292), (240, 296),
                   (204, 292), (158, 270), (122, 226), (116, 178), (136, 126), (184, 92)])
    inside = p.fill(head, (164, 154, 144), (150, 140, 130), round_=38, rough=0.2, grain=fur)
    stripe = dict(soft=1.6, inside=inside, rough=0.3, grain=fur)
    for x in (-1, 1):
        for a, b, c in (((12, 84), (14, 112), (16, 142)), ((34, 88), (40, 112), (32, 140)), ((58, 96), (66, 116),
                                                                                             (62, 134))):
            p.fill(limb([(240 + x * a[0], a[1]), (240 + x * b[0], b[1]), (240 + x * c[0], c[1])], [9, 8, 3]), dark,
                   **stripe)
        for y in (0, 22, 42):
            p.fill(
                limb([(240 + x * 128, 196 + y), (240 + x * 104, 200 + y * 0.9), (240 + x * 82, 212 + y * 0.6)],
                     [9, 7, 2]), dark, **stripe)
        p.fill(limb([(240 + x * 84, 172), (240 + x * 112, 166), (240 + x * 124, 154)], [4, 6, 7]), dark, **stripe)
    p.fill(limb([(240, 82), (240, 106), (240, 128)], [8, 6, 3]), dark, **stripe)
    for x in (-1, 1):
        p.fill(ellipse(240 + x * 30, 248, 40, 30), light, (206, 196, 186), round_=14, rough=0.12, grain=fur, soft=4)
    p.fill(ellipse(240, 276, 30, 18), light, (200, 190, 180), round_=10, soft=4)
    p.fill(spline([(226, 150), (254, 150), (262, 216), (218, 216)]), (176, 164, 152), (190, 178, 166),
           soft=6,
           rough=0.12,
           grain=fur)
    for x in (-1, 1):
        eye = spline([(240 + x * 30, 192), (240 + x * 52, 168), (240 + x * 78, 166), (240 + x * 90, 176),
                      (240 + x * 70, 198), (240 + x * 44, 202)])
        p.fill(ellipse(240 + x * 60, 183, 36, 25), (96, 86, 80), soft=3, inside=inside * 0.8)
        m = p.fill(eye, (178, 200, 72), (222, 204, 92))
        p.fill(ellipse(240 + x * 60, 184, 9, 19), (12, 12, 10), inside=m)
        p.fill(eye, (0, 0, 0), soft=4, inside=m * np.clip((178 - YY) / 14, 0, 0.6))
        p.fill(ellipse(240 + x * 60 - 7, 176, 4.5, 4.5), (255, 255, 255))
    p.fill(spline([(224, 222), (240, 218), (256, 222), (248, 234), (240, 239), (232, 234)]), (214, 128, 122),
           (160, 84, 82),
           round_=5)
    p.fill(limb([(240, 238), (240, 252)], [2.4, 2.4]), (80, 54, 50))
    for x in (-1, 1):
        p.fill(limb([(240, 252), (240 + x * 14, 260), (240 + x * 28, 254)], [2.4, 2.4, 1.2]), (80, 54, 50), soft=0.5)
        for y, up in ((242, -14), (250, 0), (258, 14)):
            p.fill(limb([(240 + x * 40, y), (240 + x * 96, y + up * 0.3), (240 + x * 152, y + up)], [1.4, 1.2, 0.5]),
                   (244, 240, 234))
    return p


def deer():
    p = Picture((86, 104, 72), (150, 158, 108))
    bokeh(p, 51, [(60, 84, 50), (92, 116, 66), (46, 66, 42), (128, 142, 88)], 26, 50)
    for x, w in ((30, 26), (92, 16), (400, 30), (452, 18)):
        p.fill(box(x, -10, x + w, 240), (78, 64, 50), (58, 48, 38), soft=4, round_=8)
    grass(p, 232, (112, 118, 62), (134, 138, 82), 52)
    fur = noise(53, 4, 3, 1.6) * 0.7 + noise(54, 14, 3) * 0.6
    coat, low = (170, 122, 82), (128, 94, 62)
    p.shadow(ellipse(248, 318, 104, 9), 0.5, 6)

    def leg(points, widths, shade):
        p.fill(limb(points, widths),
               np.array(coat) * shade,
               np.array(low) * shade,
               round_=5,
               rough=0.15,
               grain=fur,
               soft=1)
        hoof(*points[-1])

    def hoof(x, y):
        p.fill(ellipse(x - 1, y + 1, 5, 4), (40, 30, 26))

    leg([(200, 226), (204, 270), (200, 314)], [20, 10, 7], 0.66)
    leg([(312, 214), (324, 254), (312, 276), (318, 314)], [30, 13, 10, 7], 0.66)
    p.fill(spline([(336, 168), (350, 172), (352, 192), (342, 204), (334, 188)]), (236, 226, 208), (190, 160, 130),
           round_=5)
    body = spline([(172, 178), (178, 156), (204, 152), (262, 160), (312, 156), (340, 168), (348, 196), (336, 224),
                   (300, 232), (252, 236), (206, 240), (180, 222)])
    neck = spline([(128, 106), (150, 98), (168, 108), (190, 150), (212, 168), (204, 214), (178, 214), (164, 178),
                   (150, 142), (136, 128)])
    near = ([(190, 204), (188, 258), (178, 284), (184, 318)], [34, 13, 10, 7]), ([(320, 194), (338, 246), (324, 274),
                                                                                  (334, 318)], [42, 16, 11, 7])
    p.fill(join(p, body, neck, *(limb(*leg) for leg in near)),
           coat,
           np.array(low) * 0.85,
           round_=20,
           rough=0.18,
           grain=fur)
    for points, _ in near:
        hoof(*points[-1])
    p.fill(spline([(210, 230), (256, 226), (306, 222), (302, 232), (252, 237), (212, 240)]), (232, 214, 188),
           (200, 176, 146),
           soft=3)
    p.fill(spline([(140, 126), (156, 146), (172, 184), (176, 212), (164, 182), (148, 148)]), (226, 206, 178),
           (208, 184, 152),
           soft=3)
    horn, bone = (206, 184, 150), (136, 106, 74)
    for dx, shade in ((10, 0.7), (0, 1.0)):
        c, d = np.array(horn) * shade, np.array(bone) * shade
        for points, widths in (([(142, 98), (140, 74), (170, 54), (182, 30), (176, 10)], [10, 9, 8, 6, 3]), ([
            (146, 76), (120, 64), (108, 40)
        ], [7, 6, 3]), ([(158, 62), (140, 44), (138, 18)], [7, 6, 3]), ([(178, 46), (206, 38), (216, 14)], [7, 6, 3])):
            p.fill(limb([(x + dx * (1 + (98 - y) / 60), y) for x, y in points], widths), c, d, round_=3)
    p.fill(spline([(152, 102), (170, 90), (190, 92), (178, 106), (160, 112)]), (168, 112, 70), (104, 66, 44), round_=4)
    p.fill(spline([(156, 103), (170, 95), (182, 95), (172, 103)]), (222, 178, 150), soft=1)
    p.fill(spline([(94, 136), (98, 124), (118, 112), (130, 98), (150, 96), (162, 108), (156, 128), (134, 138),
                   (112, 146), (98, 146)]), (182, 124, 76), (140, 92, 56),
           round_=12,
           rough=0.12,
           grain=fur)
    p.fill(spline([(94, 138), (104, 136), (122, 138), (112, 147), (98, 147)]), (234, 222, 204), (206, 190, 166),
           soft=1.2)
    p.fill(ellipse(95, 134, 6, 5.5), (38, 28, 26), round_=2)
    p.fill(ellipse(132, 115, 5.5, 5), (24, 16, 12))
    p.fill(ellipse(130.5, 113, 1.6, 1.6), (250, 250, 250))
    rng = np.random.default_rng(55)
    for _ in range(240):
        x, h = rng.uniform(0, W), rng.uniform(8, 26)
        y = rng.uniform(312, 362)
        p.fill(limb([(x, y), (x + rng.uniform(-3, 3), y - h / 2), (x + rng.uniform(-8, 8), y - h)], [2.2, 1.6, 0.4]),
               np.array((120, 124, 64)) * rng.uniform(0.6, 1.2))
    return p


def dog():
    p = Picture((132, 172, 96), (84, 128, 60))
    bokeh(p, 61, [(160, 196, 110), (96, 142, 74), (186, 210, 130)], 20, 60)
    fur = noise(62, 4, 3, 0.5) * 0.7 + noise(63, 12, 3, 0.6) * 0.6
    gold, deep, pale = (220, 168, 98), (158, 104, 52), (242, 212, 160)
    p.fill(spline([(100, 390), (116, 300), (170, 260), (240, 250), (310, 260), (364, 300), (380, 390)]),
           gold,
           deep,
           round_=30,
           rough=0.25,
           grain=fur)
    p.fill(spline([(176, 390), (186, 310), (240, 286), (294, 310), (304, 390)]),
           pale,
           gold,
           soft=8,
           rough=0.2,
           grain=fur)
    head = spline([(240, 66), (290, 74), (324, 108), (332, 156), (318, 196), (292, 222), (282, 262), (240, 284),
                   (198, 262), (188, 222), (162, 196), (148, 156), (156, 108), (190, 74)])
    p.shadow(head + (0, 10), 0.3, 8)
    p.fill(head, gold, (214, 166, 104), round_=32, rough=0.16, grain=fur)
    for x in (-1, 1):
        ear = spline([(240 + x * 70, 84), (240 + x * 104, 92), (240 + x * 128, 134), (240 + x * 132, 192),
                      (240 + x * 112, 230), (240 + x * 92, 214), (240 + x * 84, 160), (240 + x * 72, 120)])
        p.shadow(ear + (-x * 4, 6), 0.3, 5)
        p.fill(ear, (188, 128, 66), (132, 82, 40), round_=16, rough=0.25, grain=fur)
    p.fill(spline([(228, 90), (252, 90), (258, 170), (222, 170)]), pale, (232, 190, 128), soft=7, rough=0.12, grain=fur)
    for x in (-1, 1):
        p.fill(ellipse(240 + x * 44, 128, 17, 8, x * 12), (236, 192, 126), soft=3)
        p.fill(ellipse(240 + x * 42, 150, 18, 15), (132, 84, 44), soft=4)
        p.fill(ellipse(240 + x * 42, 150, 12, 12), (64, 34, 18), (110, 64, 30))
        p.fill(ellipse(240 + x * 42, 150, 7, 7), (10, 8, 8))
        p.fill(ellipse(240 + x * 42 - 4, 145, 3.4, 3.4), (255, 255, 255))
    for x in (-1, 1):
        p.fill(ellipse(240 + x * 24, 226, 32, 28), pale, (226, 180, 120), round_=14, rough=0.1, grain=fur, soft=2.5)
    p.fill(spline([(216, 250), (240, 246), (264, 250), (258, 276), (240, 288), (222, 276)]), (92, 44, 40), (60, 26, 26))
    p.fill(spline([(224, 256), (240, 252), (256, 256), (256, 288), (240, 304), (224, 288)]), (240, 132, 138),
           (206, 92, 104),
           round_=8)
    p.fill(limb([(240, 258), (240, 290)], [2, 1]), (186, 80, 92), soft=1)
    p.fill(spline([(214, 196), (240, 188), (266, 196), (262, 212), (248, 224), (240, 226), (232, 224), (218, 212)]),
           (46, 40, 40), (18, 16, 18),
           round_=8)
    p.fill(ellipse(232, 197, 8, 3.5), (150, 148, 150), soft=1.8)
    p.fill(limb([(240, 224), (240, 244)], [3, 3]), (74, 48, 40))
    for x in (-1, 1):
        p.fill(limb([(240, 244), (240 + x * 20, 252), (240 + x * 42, 242)], [3, 3, 1.5]), (74, 48, 40), soft=0.5)
    return p


def frog():
    p = Picture((40, 70, 44), (24, 44, 30))
    bokeh(p, 71, [(58, 96, 56), (30, 60, 42), (92, 128, 70)], 18, 60)
    veins = noise(72, 30, 4, 2)
    leaf = spline([(20, 300), (110, 262), (240, 250), (370, 258), (470, 286), (400, 330), (260, 352), (110, 342)])
    p.fill(leaf, (132, 176, 74), (62, 104, 42), round_=20, rough=0.14, grain=veins)
    p.fill(limb([(20, 300), (240, 300), (470, 288)], [3, 5, 2]), (178, 208, 118), soft=1)
    for x in range(70, 440, 46):
        p.fill(limb([(x, 299), (x + 26, 278), (x + 44, 266)], [2, 1.5, 0.5]), (160, 196, 104), soft=0.8)
        p.fill(limb([(x, 301), (x + 28, 320), (x + 44, 334)], [2, 1.5, 0.5]), (106, 148, 66), soft=0.8)
    skin = noise(73, 7, 3) * 0.5 + noise(74, 26, 3) * 0.7
    spots = np.clip(noise(75, 22, 2) * 3 - 1.2, 0, 1)
    green, deep = (118, 168, 52), (58, 100, 32)
    p.shadow(ellipse(240, 304, 150, 15), 0.6, 8)
    for x in (-1, 1):
        thigh = spline([(240 + x * 60, 216), (240 + x * 112, 196), (240 + x * 150, 226), (240 + x * 150, 270),
                        (240 + x * 110, 294), (240 + x * 66, 286)])
        p.fill(thigh, green, deep, round_=22, rough=0.2, grain=skin)
        p.lay(p.mask(thigh) * spots, (44, 74, 30), 0.6)
        p.fill(limb([(240 + x * 138, 282), (240 + x * 112, 300), (240 + x * 148, 306)], [22, 14, 8]),
               green,
               deep,
               round_=6,
               rough=0.2,
               grain=skin)
        for dx in (-8, 4, 16):
            p.fill(limb([(240 + x * 132, 303), (240 + x * (146 + dx), 312)], [6, 4]), green, deep, round_=2)
            p.fill(ellipse(240 + x * (147 + dx), 312, 4.5, 3.5), (150, 188, 84))
    body = spline([(240, 108), (296, 118), (332, 152), (344, 210), (328, 268), (288, 296), (240, 302), (192, 296),
                   (152, 268), (136, 210), (148, 152), (184, 118)])
    inside = p.fill(body, (134, 182, 60), (104, 146, 50), round_=34, rough=0.16, grain=skin)
    p.lay(inside * spots * np.clip((190 - YY) / 40, 0, 1), (52, 84, 32), 0.6)
    p.fill(spline([(166, 214), (240, 222), (314, 214), (322, 256), (286, 296), (240, 301), (194, 296), (158, 256)]),
           (232, 226, 172), (204, 200, 140),
           soft=7,
           inside=inside,
           rough=0.08,
           grain=skin)
    p.fill(limb([(146, 196), (190, 208), (240, 212), (290, 208), (334, 196)], [2, 4, 4, 4, 2]), (44, 60, 24),
           soft=0.8,
           inside=inside)
    for x in (-1, 1):
        p.fill(ellipse(240 + x * 14, 170, 3, 2.2, x * 30), (40, 56, 24))
        arm = limb([(240 + x * 72, 240), (240 + x * 92, 274), (240 + x * 70, 306)], [30, 22, 13])
        p.shadow(arm, 0.35, 4)
        p.fill(arm, green, deep, round_=8, rough=0.2, grain=skin)
        for dx in (-18, -6, 6, 18):
            p.fill(limb([(240 + x * 70, 304), (240 + x * (70 + dx), 318)], [7, 4]), green, deep, round_=2)
            p.fill(ellipse(240 + x * (70 + dx), 319, 5, 4), (164, 198, 96), (110, 150, 60))
        p.fill(ellipse(240 + x * 66, 118, 36, 33), green, deep, round_=14, rough=0.15, grain=skin)
        m = p.fill(ellipse(240 + x * 68, 114, 23, 22), (232, 176, 50), (196, 116, 28), round_=8)
        p.fill(ellipse(240 + x * 68, 114, 17, 9), (14, 12, 8), inside=m)
        p.fill(ellipse(240 + x * 68 - 7, 106, 5, 4), (255, 255, 250))
        p.fill(ellipse(240 + x * 68, 92, 26, 8), deep, soft=3, inside=m * 0.5)
    return p


def horse():
    p = Picture((112, 168, 220), (214, 230, 238))
    sky(p, 81, 0.1, until=190)
    trees(p, 214, 82, (44, 78, 48), (104, 146, 76), 44)
    grass(p, 212, (96, 140, 54), (138, 172, 84), 83)
    coat = noise(84, 5, 3, 1.5) * 0.5 + noise(85, 30, 3) * 0.6
    brown, low, dark = (150, 82, 42), (86, 44, 24), (34, 22, 18)
    p.shadow(ellipse(252, 322, 124, 10), 0.55, 6)

    def leg(points, widths, shade):
        p.fill(limb(points, widths), np.array(brown) * shade, np.array(dark) * shade, round_=6, rough=0.15, grain=coat)
        hoof(*points[-1])

    def hoof(x, y):
        p.fill([(x - 7, y - 3), (x + 5, y - 3), (x + 8, y + 7), (x - 10, y + 7)], (46, 38, 34), (24, 20, 18))

    leg([(206, 222), (200, 268), (206, 312)], [28, 14, 9], 0.62)
    leg([(322, 212), (344, 258), (330, 284), (334, 312)], [40, 17, 12, 9], 0.62)
    p.fill(limb([(356, 156), (384, 178), (388, 226), (378, 274)], [10, 20, 22, 8]), (52, 34, 26), (22, 16, 14),
           round_=6,
           rough=0.3,
           grain=noise(86, 5, 3, 0.3))
    body = spline([(170, 190), (178, 160), (210, 148), (258, 156), (304, 146), (344, 150), (364, 176), (362, 210),
                   (334, 232), (284, 234), (232, 240), (190, 232)])
    neck = spline([(128, 82), (152, 70), (172, 82), (196, 118), (226, 152), (222, 200), (194, 226), (172, 206),
                   (158, 166), (144, 130)])
    near = ([(192, 204), (188, 264), (180, 288), (182, 318)], [44, 17, 12, 9]), ([(336, 190), (358, 246), (342, 282),
                                                                                  (350, 318)], [58, 20, 13, 9])
    p.fill(join(p, body, neck, *(limb(*leg) for leg in near)), brown, dark, round_=22, rough=0.14, grain=coat)
    for points, _ in near:
        hoof(*points[-1])
    mane = noise(87, 5, 3, 0.35)
    p.fill(spline([(138, 62), (156, 60), (178, 76), (206, 110), (232, 148), (216, 146), (196, 138), (178, 112),
                   (160, 90), (146, 80)]), (50, 32, 24), (24, 16, 14),
           round_=7,
           rough=0.35,
           grain=mane)
    p.fill(spline([(150, 74), (152, 50), (160, 42), (166, 58), (164, 76)]), (150, 84, 44), low, round_=4)
    p.fill(spline([(78, 148), (84, 134), (104, 112), (122, 86), (140, 70), (160, 74), (168, 96), (158, 118), (134, 132),
                   (112, 150), (96, 162), (82, 160)]), (164, 92, 48), (104, 56, 30),
           round_=14,
           rough=0.1,
           grain=coat)
    p.fill(spline([(78, 150), (86, 138), (100, 142), (104, 156), (94, 163), (82, 161)]), (86, 56, 44), (58, 38, 32),
           soft=2)
    p.fill(spline([(118, 92), (130, 80), (124, 98), (102, 124), (98, 120)]), (244, 236, 224), soft=1.4)
    p.fill(ellipse(134, 95, 5.5, 5), (20, 12, 10))
    p.fill(ellipse(132, 93, 1.6, 1.6), (250, 250, 250))
    p.fill(ellipse(86, 147, 3, 2.2, 30), (24, 14, 12))
    p.fill(limb([(84, 157), (98, 154)], [1.4, 0.8]), (44, 26, 22))
    rng = np.random.default_rng(88)
    for _ in range(260):
        x, h, y = rng.uniform(0, W), rng.uniform(6, 18), rng.uniform(318, 362)
        p.fill(limb([(x, y), (x + rng.uniform(-2, 2), y - h / 2), (x + rng.uniform(-6, 6), y - h)], [2.2, 1.6, 0.4]),
               np.array((98, 146, 56)) * rng.uniform(0.65, 1.25))
    return p


def sea(p, y0, near, far, seed):
    p.gradient(far, near, y0, H)
    depth = np.clip((YY - y0) / (H - y0), 0, 1)
    # Waves grow towards the viewer: three noises of growing size, each at its own distance.
    waves = (noise(seed, 3, 2, 8) * (1 - depth) + noise(seed + 1, 7, 3, 6) * depth) * 0.2
    crest = np.clip(noise(seed + 2, 9, 4, 7) * 2.2 - 0.9, 0, 1) * depth
    rows = (YY >= y0).astype(np.float32)
    p.pixels = p.pixels * (1 + waves * rows)[..., None]
    p.lay(crest * rows, (226, 238, 244), 0.45)


def ship():
    p = Picture((94, 150, 208), (224, 232, 234))
    sky(p, 91, 0.15, until=230)
    sea(p, 208, (18, 66, 104), (96, 146, 176), 92)
    p.shadow(spline([(70, 262), (240, 268), (408, 258), (380, 292), (240, 298), (100, 290)]), 0.5, 7)
    hull = np.array([(58, 196), (86, 204), (240, 208), (372, 206), (420, 192), (404, 232), (392, 262), (90, 266),
                     (72, 236)], float)
    p.fill(hull, (36, 58, 96), (20, 32, 58), round_=12, rough=0.08, grain=noise(93, 20, 3, 0.4))
    p.fill([(80, 252), (396, 248), (391, 263), (90, 267)], (168, 44, 36), (112, 24, 22), soft=0.5)
    p.fill(limb([(60, 198), (88, 206), (240, 210), (372, 208), (418, 194)], [2.5, 2.5, 2.5, 2.5, 2.5]), (232, 236, 240),
           soft=0.4)
    white, shade = (246, 248, 250), (190, 200, 212)
    p.fill(box(290, 150, 372, 208), white, shade, round_=5)
    p.fill(box(298, 122, 362, 152), white, shade, round_=4)
    p.fill(box(292, 102, 370, 124), (252, 252, 252), shade, round_=4)
    for y in (160, 176, 192):
        for x in range(298, 366, 12):
            p.fill(box(x, y, x + 6, y + 6, 1), (44, 58, 78))
    for x in range(303, 358, 11):
        p.fill(box(x, 132, x + 6, 139, 1), (44, 58, 78))
    p.fill(box(294, 107, 368, 116, 1), (40, 60, 84), (78, 106, 132))
    p.fill([(318, 102), (322, 66), (346, 66), (350, 102)], (206, 60, 40), (150, 34, 26), round_=6)
    p.fill([(319, 92), (321, 80), (348, 80), (349, 92)], white, shade)
    p.fill(limb([(308, 104), (308, 58)], [2.5, 1.5]), (230, 232, 236))
    p.fill(limb([(298, 76), (318, 76)], [1.5, 1.5]), (230, 232, 236))
    smoke = noise(94, 40, 5)
    for k in range(6):
        p.fill(ellipse(344 + 14 * k, 56 - 6 * k, 10 + 4 * k, 8 + 2.5 * k), (196, 200, 204),
               soft=6,
               inside=np.full_like(YY, 0.4 - 0.05 * k) * (1 + 0.4 * smoke))
    colours = [(196, 62, 44), (44, 108, 160), (228, 168, 58), (64, 132, 92), (206, 206, 200), (150, 74, 50)]
    rng = np.random.default_rng(95)
    for row, y in enumerate((186, 166, 146)):
        for k, x in enumerate(range(104, 282, 30)):
            if row == 2 and k in (0, 5):
                continue
            c = np.array(colours[rng.integers(len(colours))])
            p.fill(box(x, y, x + 28, y + 19), c * 1.1, c * 0.7)
            for dx in range(4, 28, 5):
                p.fill(box(x + dx, y + 1, x + dx + 1.2, y + 18), c * 0.62)
    p.fill(limb([(82, 204), (82, 160)], [3, 2]), (220, 224, 230))
    foam = np.clip(noise(96, 8, 4, 3) + 0.35, 0, 1)
    p.lay(
        blur(
            p.mask(spline([(64, 262), (90, 258), (240, 262), (396, 256), (430, 262), (390, 272), (240, 274),
                           (90, 276)])), 3) * foam, (240, 246, 250), 0.85)
    return p


def truck():
    p = Picture((118, 172, 226), (226, 236, 242))
    sky(p, 101, 0.1, until=200)
    trees(p, 214, 102, (52, 84, 52), (116, 150, 80), 40)
    grass(p, 212, (120, 142, 74), (146, 164, 92), 103)
    road(p, 250, 104)
    p.shadow(ellipse(244, 310, 180, 14), 0.75, 7)
    p.fill(box(84, 262, 412, 288), (52, 54, 60), (28, 30, 34))
    # The box with ribs, then the cab in front of it on the left.
    p.fill(box(178, 92, 418, 264, 4), (248, 249, 251), (204, 210, 218), round_=6)
    for x in range(190, 412, 17):
        p.fill(box(x, 98, x + 1.6, 258), (198, 206, 216))
    p.fill(box(178, 200, 418, 222), (36, 92, 176), (24, 66, 134))
    p.fill(box(178, 92, 418, 98), (190, 198, 208))
    p.fill(box(178, 258, 418, 265), (150, 156, 166))
    red, low = (214, 40, 34), (132, 16, 18)
    cab = spline([(66, 276), (64, 236), (74, 216), (86, 172), (98, 142), (112, 132), (168, 128), (174, 140), (175, 200),
                  (175, 276), (160, 284), (84, 284)],
                 steps=6)
    p.fill(cab, red, low, round_=11)
    glass = spline([(88, 208), (98, 168), (108, 150), (154, 146), (160, 156), (160, 204), (152, 209)], steps=6)
    m = p.fill(glass, (92, 122, 146), (34, 48, 64))
    p.fill([(96, 210), (122, 146), (136, 146), (108, 210)], (176, 204, 222), inside=m * 0.55)
    p.fill(box(114, 140, 118, 212), (150, 20, 20), inside=m)
    p.fill(limb([(118, 214), (118, 262)], [1.4, 1.4]), (120, 12, 14))
    p.fill(box(138, 222, 154, 226, 2), (236, 110, 100), (110, 10, 14))
    p.fill(box(62, 268, 104, 284, 4), (196, 202, 210), (120, 126, 136), round_=3)
    p.fill(ellipse(74, 246, 8, 10), (255, 250, 226), (206, 204, 190), round_=3)
    p.fill(ellipse(72, 262, 5, 4), (255, 168, 60))
    p.fill(limb([(92, 168), (78, 170)], [3, 2]), (40, 40, 44))
    p.fill(box(70, 166, 80, 196, 3), (44, 46, 52), (26, 26, 30), round_=2)
    p.fill(limb([(172, 200), (172, 112)], [5, 5]), (200, 206, 214), (140, 146, 156))
    for x in (124, 308, 372):
        p.fill(ellipse(x, 282, 36, 36), (20, 20, 24), inside=(YY < 286).astype(np.float32))
        wheel(p, x, 284, 29)
    return p


PICTURES = {f.__name__: f for f in (airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck)}


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=root / "assets" / "samples")
    parser.add_argument("--model", type=Path, default=root / "assets" / "vit_tiny_cifar10.safetensors")
    parser.add_argument("--only", nargs="*", choices=list(PICTURES), default=list(PICTURES))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for label in args.only:
        PICTURES[label]().image().save(args.out / f"{label}_1.jpg", quality=92, optimize=True)
    try:
        import vit
    except ImportError:
        return print("PyTorch is not installed: the pictures are drawn, but not checked")
    model = vit.build(*vit.load_safetensors(args.model))
    names, pictures, labels = vit.labelled_pictures(args.out)
    for name, p, label in zip(names, vit.logits_of(model, pictures).softmax(1), labels):
        first, second = p.topk(2).indices.tolist()
        print(f"{'right' if first == label else 'WRONG'}  {name:20} {vit.LABELS[first]} {p[first]:.3f}, "
              f"{vit.LABELS[second]} {p[second]:.3f}")


if __name__ == "__main__":
    main()
