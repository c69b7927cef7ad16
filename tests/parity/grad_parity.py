#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares `attar grad` with the objectives written in PyTorch, on real images, five draws a method.

    tests/parity/grad_parity.py ATTAR [--data digits|fashion-mnist] [--methods dm,dc,...] [--draws 5]

For each method: float32 on the fast backend against PyTorch in float32 (1e-4), float64 on the reference backend
against float64 (1e-9), and float64 against a central difference along a random direction (1e-6). Prints a line a
method. Exits 1 if one is off, 77 without PyTorch.

ReLU has no gradient at 0. Where an input of it lies within float32's rounding of 0, attar may be on the other side: the
script then puts such inputs there, one by one, keeps what at least halves the error, and says how many it took.
"""
import argparse
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

from model import ConvNet, Relu, augment, draw_augmentation, read_tensors, write_tensors

LIMITS = {"float32": 1e-4, "float64": 1e-9, "difference": 1e-6}
MOST = 3  # ReLU inputs of a draw that may lie on the other side
TRIED = 40  # of those, the nearest to 0 that are looked at
DSA = ["color", "crop", "cutout", "flip", "scale", "rotate"]


class Problem:
    """One draw: a file's tensors, the network, and what both sides are told."""

    def __init__(self, real, syn, net, words, rng):
        self.net, self.words, self.classes = net, words, len(real)
        self.ipc = syn.shape[1]
        self.tensors = {
            "syn": syn.reshape(-1, *syn.shape[2:]),
            "real": real.reshape(-1, *real.shape[2:]),
            "theta": net.draw(rng),
            "aug": np.concatenate([draw_augmentation(rng, words, syn.shape[-1], 1, True) for _ in real]),
        }

    def torch(self, dtype):
        t = {k: torch.tensor(v, dtype=dtype) for k, v in self.tensors.items()}
        t["syn"].requires_grad_()
        t["theta"].requires_grad_()
        return t


def classes_of(p, t):
    """(real, synthetic, label) of each class, both augmented alike."""
    for c, (x, s) in enumerate(zip(t["real"].chunk(p.classes), t["syn"].chunk(p.classes))):
        row = t["aug"][c : c + 1]
        yield augment(x, row.expand(len(x), -1), p.words), augment(s, row.expand(len(s), -1), p.words), c


def dm(p, t, relu):
    return sum(
        (p.net(t["theta"].detach(), x, relu)[0].mean(0).detach() - p.net(t["theta"].detach(), s, relu)[0].mean(0))
        .square()
        .sum()
        for x, s, _ in classes_of(p, t)
    )


def theta_gradient(p, t, x, c, relu, graph):
    loss = torch.nn.functional.cross_entropy(p.net(t["theta"], x, relu)[1], torch.full((len(x),), c))
    return torch.autograd.grad(loss, t["theta"], create_graph=graph)[0]


def row_cosine(p, real, syn):
    """1 - cos over the rows of every tensor that has more than one axis."""
    out = 0
    for a, b in zip(p.net.split(real), p.net.split(syn)):
        if a.dim() > 1:
            a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
            out = out + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return out


def dc(p, t, relu, distance=row_cosine):
    return sum(
        distance(p, theta_gradient(p, t, x, c, relu, False), theta_gradient(p, t, s, c, relu, True))
        for x, s, c in classes_of(p, t)
    )


def dc_l2(p, t, relu):
    return dc(p, t, relu, lambda p, a, b: (a - b).square().sum())


def dc_cosine(p, t, relu):
    return dc(p, t, relu, lambda p, a, b: 1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6))


def dcc(p, t, relu):
    parts = list(classes_of(p, t))
    real = sum(theta_gradient(p, t, x, c, relu, False) for x, _, c in parts) / p.classes
    syn = sum(theta_gradient(p, t, s, c, relu, True) for _, s, c in parts) / p.classes
    return row_cosine(p, real, syn)


def cafe(p, t, relu):
    """Layers weigh 0.1, the last before pooling 1, after pooling 1, flattened 1; the logits are inner products."""
    theta, loss, real, centres = t["theta"].detach(), 0, [], []
    for x, s, _ in classes_of(p, t):
        with torch.no_grad():
            fx = p.net.maps(theta, x, relu)
        fs = p.net.maps(theta, s, relu)
        fx, fs = [*fx, fx[-1].flatten(1)], [*fs, fs[-1].flatten(1)]
        weights = [0.1] * (p.net.depth - 1) + [1, 1, 1]
        loss = loss + sum(w * (a.mean(0) - b.mean(0)).square().sum() for w, a, b in zip(weights, fx, fs))
        real.append(fx[-1])
        centres.append(fs[-1].mean(0))
    labels = torch.arange(p.classes).repeat_interleave(len(real[0]))
    logits = torch.cat(real) @ torch.stack(centres).T
    return loss + 0.01 * torch.nn.functional.cross_entropy(logits, labels, reduction="sum")


# name: objective, what attar is told, augmentation
METHODS = {
    "dm": (dm, ["--method", "dm"], DSA),
    "cafe": (cafe, ["--method", "cafe"], []),
    "cafe-dsa": (cafe, ["--method", "cafe", "--set", "chunk=10", "--set", "chunk_syn=4"], DSA),
    "cafe-parts": (cafe, ["--method", "cafe", "--set", "chunk=10", "--set", "chunk_syn=1"], DSA),
    "dc": (dc, ["--method", "dc"], []),
    "dc-l2": (dc_l2, ["--method", "dc", "--set", "distance=l2"], []),
    "dc-cosine": (dc_cosine, ["--method", "dc", "--set", "distance=cosine"], []),
    "dsa": (dc, ["--method", "dsa"], DSA),
    "dcc": (dcc, ["--method", "dcc"], DSA),
}


def attar(program, p, told, dtype, backend, folder):
    a, b = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    write_tensors(a, p.tensors)
    subprocess.run(
        [program, "grad", *told, "--net", p.net.spec, "--ipc", str(p.ipc), "--aug", "_".join(p.words) or "none",
         "--type", dtype, "--backend", backend, a, b], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return read_tensors(b)


def by_torch(objective, p, dtype, relu):
    relu.rewind()
    t = p.torch(dtype)
    loss = objective(p, t, relu)
    (grad,) = torch.autograd.grad(loss, t["syn"])
    return loss.item(), grad.double().numpy()


def distance(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b))


def compare(program, objective, p, told, dtype, backend, folder):
    """The larger error of loss and gradient, and how many ReLU inputs were put on the other side."""
    ours, relu, moved = attar(program, p, told, dtype, backend, folder), Relu(), 0
    loss, grad = by_torch(objective, p, getattr(torch, dtype), relu)
    error = distance(ours["images"], grad)
    for _, call, at in sorted(relu.near)[:TRIED] if dtype == "float32" and error > LIMITS[dtype] / 10 else []:
        if moved == MOST or error <= LIMITS[dtype] / 10:
            break
        relu.masks[call][at] ^= True
        now = distance(ours["images"], by_torch(objective, p, torch.float32, relu)[1])
        if now < error / 2:
            error, moved = now, moved + 1
        else:
            relu.masks[call][at] ^= True
    return max(error, abs(float(ours["loss"]) - loss) / abs(loss)), moved


def difference(objective, p, rng, ours):
    """attar's float64 gradient against PyTorch's loss on both sides, on this side of every kink."""
    relu = Relu()
    by_torch(objective, p, torch.float64, relu)
    way = rng.standard_normal(p.tensors["syn"].shape)
    side, step = [], 1e-5
    for sign in (1, -1):
        relu.rewind()
        t = p.torch(torch.float64)
        t["syn"] = t["syn"] + sign * step * torch.tensor(way)
        side.append(objective(p, t, relu).item())
    slope, along = (side[0] - side[1]) / (2 * step), float((ours["images"] * way).sum())
    return abs(slope - along) / np.linalg.norm(ours["images"]) / np.linalg.norm(way) * np.sqrt(way.size)


def real_images(program, data, folder):
    """[classes,n,C,H,W] random real images, normalised, through attar's own export."""
    out, npz = os.path.join(folder, "real"), os.path.join(folder, "real.npz")
    subprocess.run([program, "distill", "--data", data, "--method", "random", "--ipc", "40", "--out", out, "--quiet",
                    "--set", "eval_repeats=0"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    subprocess.run([program, "export", out, "--to", "npz", "--out", npz], check=True, stdout=subprocess.DEVNULL)
    images = np.load(npz)["images"]
    return images.reshape(-1, 40, *images.shape[1:]).astype(np.float32)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("attar")
    args.add_argument("--data", default="digits")
    args.add_argument("--methods", default=",".join(METHODS))
    args.add_argument("--draws", type=int, default=5)
    args = args.parse_args()
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        images = real_images(args.attar, args.data, folder)
        shape, classes = images.shape[2:], len(images)
        big = shape[1] >= 28
        wide = ConvNet(shape, classes, 3 if big else 2, 128 if big else 32)
        narrow = ConvNet(shape, classes, 2, 6)
        for name in args.methods.split(","):
            objective, told, words = METHODS[name]
            worst, moved = dict.fromkeys(LIMITS, 0.0), 0
            for draw in range(args.draws):
                rng = np.random.default_rng([draw, len(name)])
                pick = rng.permutation(40)
                real, syn = images[:, pick[:24]], images[:, pick[24:26]]
                for net, dtype, backend in ((wide, "float32", "cpu"), (narrow, "float64", "ref")):
                    p = Problem(real, syn, net, words, rng)
                    error, k = compare(args.attar, objective, p, told, dtype, backend, folder)
                    worst[dtype], moved = max(worst[dtype], error), moved + k
                ours = attar(args.attar, p, told, "float64", "ref", folder)
                worst["difference"] = max(worst["difference"], difference(objective, p, rng, ours))
            good = all(worst[k] <= v for k, v in LIMITS.items()) and worst["float32"] > 0
            bad = bad or not good
            print(f"{name:<12} float32 {worst['float32']:.1e}  float64 {worst['float64']:.1e}  "
                  f"difference {worst['difference']:.1e}  signs changed {moved}  {'ok' if good else 'OFF'}")  # fmt: skip
            sys.stdout.flush()
    sys.exit(1 if bad else 0)


main()
