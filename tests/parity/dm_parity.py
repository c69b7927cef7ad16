#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Computes what dm_dump wrote once more, with PyTorch: loss and pixel gradient of distribution matching.

Shares no code with attar: file format, network and augmentation are written from their descriptions. Prints the
relative error of each case against float64 and float32 and exits 1 if one exceeds 1e-4, 77 without PyTorch.

ReLU has no gradient at 0. Where a synthetic image's ReLU input lies within rounding of it, attar may be on the other
side: if the gradient is far off, the script looks for such inputs, puts them there one by one, keeps what brings the
gradient nearer, and prints how many it took (the last column).

    tests/parity/dm_parity.py FILE.safetensors
"""
import sys

try:
    import numpy as np
    import torch
    from torch.nn import functional as F
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

from cases import read_cases

LIMIT = 1e-4
NEAR = 2e-5  # normalised activations are of size 1; Winograd's rounding is of the order of 1e-6
MOST = 3  # inputs of a case that may lie on the other side


class Relu:
    """ReLU whose signs are those of its first pass. An input within rounding of 0 has another sign, so another gradient,
    in another precision; the same side of the kink is the same function. `flipped` counts such inputs; `near` holds
    those, of values that need a gradient, that are closest to 0."""

    def __init__(self):
        self.masks, self.near, self.at, self.flipped = [], [], 0, 0

    def rewind(self):
        self.at = 0

    def __call__(self, x):
        if self.at == len(self.masks):
            self.masks.append(x.detach() > 0)
            if x.requires_grad:
                self.near += [(self.at, tuple(i)) for i in (x.detach().abs() < NEAR).nonzero().tolist()]
        mask = self.masks[self.at]
        self.flipped += int((mask != (x.detach() > 0)).sum())
        self.at += 1
        return x * mask


def convnet(x, theta, relu, classes=10):
    """Embedding by depth x [conv 3x3, instance norm, ReLU, average pool 2x2]; 1x28x28 pads 3 first."""
    depth, width = (3, 128) if x.shape[2] >= 28 else (2, 32)
    at = 0

    def take(*shape):
        nonlocal at
        n = int(np.prod(shape))
        at += n
        return theta[at - n : at].reshape(shape)

    pad = 3 if tuple(x.shape[1:]) == (1, 28, 28) else 1
    for i in range(depth):
        w, b = take(width, x.shape[1], 3, 3), take(width)
        x = F.conv2d(x, w, b, padding=pad if i == 0 else 1)
        scale, shift = take(width), take(width)
        x = F.group_norm(x, width, scale, shift, eps=1e-5)
        x = F.avg_pool2d(relu(x), 2)
    x = x.flatten(1)
    assert at + (x.shape[1] + 1) * classes == theta.numel(), "theta has another length"
    return x


def warp(x, a):
    """Bilinear, zeros outside; a maps offsets (y, x) from the centre to those of the source, in pixels."""
    n, _, h, w = x.shape
    y = torch.arange(h, dtype=x.dtype).view(h, 1).expand(h, w) - (h - 1) / 2
    z = torch.arange(w, dtype=x.dtype).view(1, w).expand(h, w) - (w - 1) / 2
    sy = a[0] * y + a[1] * z + a[2] + (h - 1) / 2
    sx = a[3] * y + a[4] * z + a[5] + (w - 1) / 2
    y0, x0 = sy.floor(), sx.floor()
    out = 0
    for dy in (0, 1):
        for dx in (0, 1):
            yy, xx = y0 + dy, x0 + dx
            weight = (1 - (sy - yy).abs()) * (1 - (sx - xx).abs())
            weight = weight * ((yy >= 0) & (yy < h) & (xx >= 0) & (xx < w))
            out = out + weight * x[:, :, yy.clamp(0, h - 1).long(), xx.clamp(0, w - 1).long()]
    return out


def dsa(x, p, case):
    """The case's strategy with the class's parameters p; the full list applies all, only one of them not neutral."""
    words = case.split("_")
    if "color" in words:
        x = x + p[6]
        if x.shape[1] > 1:
            m = x.mean(1, keepdim=True)
            x = (x - m) * p[7] + m
        m = x.mean((1, 2, 3), keepdim=True)
        x = (x - m) * p[8] + m
    if {"crop", "flip", "scale", "rotate"} & set(words):
        x = warp(x, p[:6])
    if "cutout" in words:
        y0, y1, x0, x1 = (int(v) for v in p[9:13])
        mask = torch.ones_like(x)
        mask[:, :, y0:y1, x0:x1] = 0
        x = x * mask
    return x


def check_draw(case, p, h, w):
    """The parameters themselves, where the description bounds them; says what is wrong, or nothing."""
    q, side = int(h * 0.125 + 0.5), int(h * 0.5 + 0.5)
    a = p[:6].reshape(2, 3)
    eye = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    good = {
        "color": abs(p[6]) <= 0.5 and 0 <= p[7] <= 2 and 0.5 <= p[8] <= 1.5,
        "crop": np.array_equal(a[:, :2], eye[:, :2]) and all(v == int(v) and abs(v) <= q for v in a[:, 2]),
        "cutout": 0 <= p[9] <= p[10] <= h and 0 <= p[11] <= p[12] <= w and max(p[10] - p[9], p[12] - p[11]) <= side,
        "flip": np.array_equal(np.abs(a), eye) and a[0, 0] == 1,
        "scale": all(1 / 1.2 - 1e-6 <= v <= 1.2 + 1e-6 for v in (a[0, 0], a[1, 1])) and a[0, 1] == a[1, 0] == 0,
        "rotate": np.allclose(a[:, :2] @ a[:, :2].T, np.eye(2), atol=1e-6) and a[0, 0] >= np.cos(np.pi / 12) - 1e-6,
    }
    return good.get(case, True)


def recompute(case, t, dtype, relu):
    relu.rewind()
    real, theta, aug = (torch.tensor(t[k], dtype=dtype) for k in ("real", "theta", "aug"))
    syn = torch.tensor(t["syn"], dtype=dtype, requires_grad=True)
    classes = len(aug)
    loss = 0
    for x, s, p in zip(real.chunk(classes), syn.chunk(classes), aug):
        with torch.no_grad():
            target = convnet(dsa(x, p, case), theta, relu).mean(0)
        loss = loss + (target - convnet(dsa(s, p, case), theta, relu).mean(0)).square().sum()
    loss.backward()
    return loss.item(), syn.grad.double().numpy()


def distance(ours, grad):
    return np.linalg.norm(ours.astype(np.float64) - grad) / np.linalg.norm(grad)


def explain(case, t, relu, error):
    """Puts ReLU inputs near 0 on the other side as long as that at least halves the error; returns how many."""
    moved = 0
    for call, at in relu.near:
        if error <= LIMIT / 10 or moved == MOST:
            break
        relu.masks[call][at] ^= True
        now = distance(t["grad"], recompute(case, t, torch.float32, relu)[1])
        if now < error / 2:
            error, moved = now, moved + 1
        else:
            relu.masks[call][at] ^= True
    return moved


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: dm_parity.py FILE.safetensors")
    worst, bad = 0.0, False
    print("case      loss f32  grad f32  loss f64  grad f64   (relative errors; signs float64 changes, signs attar changes)")
    for case, t in read_cases(sys.argv[1]).items():
        errors, relu = [], Relu()
        first = distance(t["grad"], recompute(case, t, torch.float32, relu)[1])
        moved = explain(case, t, relu, first) if first > LIMIT / 10 else 0
        relu.flipped = 0
        for dtype in (torch.float32, torch.float64):
            loss, grad = recompute(case, t, dtype, relu)
            errors += [abs(float(t["loss"]) - loss) / abs(loss), distance(t["grad"], grad)]
        print(f"{'all' if '_' in case else case:<8}" + "".join(f"  {e:.2e}" for e in errors) + f"  {relu.flipped}  {moved}")
        bad = bad or relu.flipped > 1e-5 * sum(m.numel() for m in relu.masks)
        worst = max([worst, *errors])
        bad = bad or not all(e <= LIMIT for e in errors)  # a NaN is bad, too
        for p in t["aug"]:
            if not check_draw(case, p, *t["real"].shape[2:]):
                print(f"{case}: parameters outside the description: {p}")
                bad = True
    print(f"worst {worst:.2e}, allowed {LIMIT:.0e}")
    sys.exit(1 if bad or worst == 0 else 0)


main()
