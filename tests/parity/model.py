# SPDX-License-Identifier: Apache-2.0
"""Networks, augmentation and files as the parity tests need them, written from their descriptions; no code of attar's."""
import json
import struct

import numpy as np
import torch
from torch.nn import functional as F

NEAR = 2e-5  # normalised activations are of size 1; Winograd's rounding is of the order of 1e-6


class Relu:
    """ReLU whose signs are those of its first pass. An input within rounding of 0 has another sign, so another gradient,
    in another precision; the same side of the kink is the same function. `near` holds the inputs within rounding of 0, of
    values that need a gradient, as (distance, call, index)."""

    def __init__(self):
        self.masks, self.near, self.at = [], [], 0

    def rewind(self):
        self.at = 0

    def __call__(self, x):
        if self.at == len(self.masks):
            self.masks.append(x.detach() > 0)
            if x.requires_grad:
                size = x.detach().abs()
                self.near += [(size[tuple(i)].item(), self.at, tuple(i)) for i in (size < NEAR).nonzero().tolist()]
        mask = self.masks[self.at]
        self.at += 1
        return x * mask


class ConvNet:
    """depth x [conv 3x3, instance norm, activation, average pool 2x2], linear; 1x28x28 pads 3 first. theta is flat."""

    def __init__(self, image, classes, depth, width, act="relu"):
        c, h, w = image
        self.depth, self.width, self.act = depth, width, act
        self.pad = 3 if tuple(image) == (1, 28, 28) else 1
        self.shapes = []
        for i in range(depth):
            self.shapes += [(width, c if i == 0 else width, 3, 3), (width,), (width,), (width,)]
            h, w = (h + 2 * (self.pad - 1) * (i == 0)) // 2, (w + 2 * (self.pad - 1) * (i == 0)) // 2
        self.features = width * h * w
        self.shapes += [(classes, self.features), (classes,)]
        self.size = sum(int(np.prod(s)) for s in self.shapes)
        self.spec = f"convnet:depth={depth},width={width},act={act}"

    def split(self, theta):
        parts, at = [], 0
        for s in self.shapes:
            n = int(np.prod(s))
            parts.append(theta[at : at + n].reshape(s))
            at += n
        return parts

    def draw(self, rng):
        """Weights and biases uniform on +-1/sqrt(fan_in), scales and shifts near 1 and 0."""
        parts = []
        for i, s in enumerate(self.shapes):
            if i % 4 >= 2 and i < 4 * self.depth:
                parts.append((i % 4 == 2) + 0.1 * rng.standard_normal(s))
                continue
            fan = int(np.prod(self.shapes[i - i % 2][1:]))
            parts.append(rng.uniform(-1, 1, s) / np.sqrt(fan))
        return np.concatenate([p.ravel() for p in parts]).astype(np.float32)

    def maps(self, theta, x, relu):
        """What each block makes before pooling, and what the last one makes after it."""
        p, out = self.split(theta), []
        for i in range(self.depth):
            w, b, scale, shift = p[4 * i : 4 * i + 4]
            x = F.conv2d(x, w, b, padding=self.pad if i == 0 else 1)
            x = F.group_norm(x, self.width, scale, shift, eps=1e-5)
            out.append(relu(x) if self.act == "relu" else x * torch.sigmoid(x))
            x = F.avg_pool2d(out[-1], 2)
        return [*out, x]

    def __call__(self, theta, x, relu):
        """Embedding and logits."""
        p, f = self.split(theta), self.maps(theta, x, relu)[-1].flatten(1)
        return f, f @ p[-2].T + p[-1]


def warp(x, a):
    """Bilinear, zeros outside; row by row of a [N,6] maps offsets (y, x) from the centre to those of the source."""
    n, c, h, w = x.shape
    a = a.view(n, 6, 1, 1)
    y = torch.arange(h, dtype=x.dtype).view(1, h, 1) - (h - 1) / 2
    z = torch.arange(w, dtype=x.dtype).view(1, 1, w) - (w - 1) / 2
    sy = a[:, 0] * y + a[:, 1] * z + a[:, 2] + (h - 1) / 2
    sx = a[:, 3] * y + a[:, 4] * z + a[:, 5] + (w - 1) / 2
    y0, x0 = sy.floor(), sx.floor()
    flat, out = x.reshape(n, c, h * w), 0
    for dy in (0, 1):
        for dx in (0, 1):
            yy, xx = y0 + dy, x0 + dx
            weight = (1 - (sy - yy).abs()) * (1 - (sx - xx).abs())
            weight = weight * ((yy >= 0) & (yy < h) & (xx >= 0) & (xx < w))
            at = (yy.clamp(0, h - 1) * w + xx.clamp(0, w - 1)).long().view(n, 1, h * w).expand(n, c, h * w)
            out = out + weight.unsqueeze(1) * flat.gather(2, at).view(n, c, h, w)
    return out


def augment(x, p, words):
    """DSA's strategies `words` with a row of parameters p [N,16] an image; all are applied, most of them neutral."""
    if not words:
        return x
    col = lambda k: p[:, k].view(-1, 1, 1, 1)
    if "color" in words:
        x = x + col(6)
        if x.shape[1] > 1:
            m = x.mean(1, keepdim=True)
            x = (x - m) * col(7) + m
        m = x.mean((1, 2, 3), keepdim=True)
        x = (x - m) * col(8) + m
    if {"crop", "flip", "scale", "rotate"} & set(words):
        x = warp(x, p[:, :6])
    if "cutout" in words:
        y = torch.arange(x.shape[2]).view(1, 1, -1, 1)
        z = torch.arange(x.shape[3]).view(1, 1, 1, -1)
        x = x * (1 - ((y >= col(9)) & (y < col(10)) & (z >= col(11)) & (z < col(12))).to(x.dtype))
    return x


def draw_augmentation(rng, words, side, n, shared):
    """n rows, one strategy for all, parameters of each row's own or the same (`shared`)."""
    rows = np.zeros((n, 16), np.float32)
    rows[:, [0, 4, 7, 8]] = 1
    if not words:
        return rows
    word, q, s = words[rng.integers(len(words))], int(side * 0.125 + 0.5), int(side * 0.5 + 0.5)
    for r in rows[:1] if shared else rows:
        if word == "color":
            r[6:9] = rng.uniform(0, 1) - 0.5, 2 * rng.uniform(0, 1), rng.uniform(0, 1) + 0.5
        elif word == "crop":
            r[[2, 5]] = rng.integers(-q, q + 1, 2)
        elif word == "cutout":
            oy, ox = rng.integers(0, side + (s % 2 == 0), 2)
            r[9:13] = [min(max(v, 0), side) for v in (oy - s // 2, oy - s // 2 + s, ox - s // 2, ox - s // 2 + s)]
        elif word == "flip":
            r[4] = rng.choice([-1, 1])
        elif word == "scale":
            r[[0, 4]] = rng.uniform(1 / 1.2, 1.2, 2)
        elif word == "rotate":
            t = np.deg2rad(rng.uniform(-15, 15))
            r[[0, 1, 3, 4]] = np.cos(t), np.sin(t), -np.sin(t), np.cos(t)
    if shared:
        rows[1:] = rows[0]
    return rows


TYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4"}


def write_tensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        kind = {"float32": "F32", "float64": "F64", "int32": "I32"}[t.dtype.name]
        blob = np.ascontiguousarray(t).tobytes()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    (length,) = struct.unpack_from("<Q", data)
    out = {}
    for name, e in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = (8 + length + v for v in e["data_offsets"])
            out[name] = np.frombuffer(data[first:end], TYPES[e["dtype"]]).reshape(e["shape"])
    return out
