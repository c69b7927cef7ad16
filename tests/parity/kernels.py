# SPDX-License-Identifier: Apache-2.0
"""Kernels of infinitely wide networks in PyTorch, by the recursions over pairs of images, for grad_parity.py: all places
of both images at every layer, whether they matter or not."""
import math

import torch

W2, B2 = 2.0, 0.01


def relu(k, a, b, same):
    """Covariance and derivative's covariance of ReLUs; same: where both are one variable, None: nowhere."""
    if same is None:
        r = torch.sqrt(torch.clamp(a * b - k * k, min=1e-300 if k.dtype == torch.float64 else 1e-30))
        d = 0.5 - torch.atan2(r, k) / (2 * math.pi)
        return r / (2 * math.pi) + d * k, d
    k, a, b = torch.broadcast_tensors(k, a, b)
    off = torch.where(same, torch.zeros_like(k), k)  # nothing singular where it is not used
    r = torch.sqrt(torch.clamp(a * b - off * off, min=1e-300 if k.dtype == torch.float64 else 1e-30))
    d = torch.where(same, torch.full_like(k, 0.5), 0.5 - torch.atan2(r, off) / (2 * math.pi))
    return torch.where(same, k / 2, r / (2 * math.pi) + d * k), d


def fc(x, y, depth, same):
    x, y = x.flatten(1), y.flatten(1)
    k, a, b, q = x @ y.T / x.shape[1], x.square().mean(1), y.square().mean(1), 0
    at = torch.eye(len(x), len(y), dtype=torch.bool) if same else None
    for layer in range(depth + 1):
        k, a, b = W2 * k + B2, W2 * a + B2, W2 * b + B2
        q = k + W2 * q
        if layer < depth:
            k, d = relu(k, a[:, None], b[None], at)
            q, a, b = d * q, a / 2, b / 2
    return q


def moved_sum(k):
    """Over the nine offsets, both places moved alike. k [..,h,w,h,w]"""
    h, w = k.shape[-4:-2]
    padded = torch.nn.functional.pad(k, (1, 1, 1, 1, 1, 1, 1, 1))
    return sum(padded[..., i : i + h, j : j + w, i : i + h, j : j + w] for i in range(3) for j in range(3))


def conv(x, y, depth, pool, same):
    """flatten, NTK. Of each image with itself: s, t."""
    c = x.shape[1]
    k, q = torch.einsum("ncij,mckl->nmijkl", x, y) / c, None
    s, t = (torch.einsum("ncij,nckl->nijkl", v, v) / c for v in (x, y))
    pairs = torch.eye(len(x), len(y), dtype=torch.bool) & same
    for _ in range(depth):
        k, s, t = (B2 + W2 / 9 * moved_sum(v) for v in (k, s, t))
        q = k if q is None else k + W2 / 9 * moved_sum(q)
        h, w = k.shape[2:4]
        places = torch.eye(h * w, dtype=torch.bool).reshape(h, w, h, w)
        va, vb = (torch.einsum("nijij->nij", v) for v in (s, t))
        k, d = relu(k, va[:, None, :, :, None, None], vb[None, :, None, None], pairs[:, :, None, None, None, None] & places)
        q = d * q
        s, t = (relu(v, u[:, :, :, None, None], u[:, None, None], places[None])[0] for v, u in ((s, va), (t, vb)))
        if pool:
            k, q, s, t = (halved(v) for v in (k, q, s, t))
    k, q = (torch.einsum("nmijij->nm", v) / (v.shape[2] * v.shape[3]) for v in (k, q))
    return W2 * k + B2 + W2 * q


def halved(k):
    """2x2 averages of both places."""
    *rest, h, w, g, v = k.shape
    return k.reshape(*rest, h // 2, 2, w // 2, 2, g // 2, 2, v // 2, 2).mean((-7, -5, -3, -1))


def fc_of(depth):
    return lambda x, y, same: fc(x, y, depth, same)


def conv_of(depth, pool, shrink=1):
    def smaller(x):
        return torch.nn.functional.avg_pool2d(x, shrink)

    return lambda x, y, same: conv(smaller(x), smaller(y), depth, pool, same)
