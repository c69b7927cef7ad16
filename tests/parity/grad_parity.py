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

import kernels
from model import ConvNet, Relu, augment, draw_augmentation, read_tensors, write_tensors

LIMITS = {"float32": 1e-4, "float64": 1e-9, "difference": 1e-6}
MOST = 3  # ReLU inputs of a draw that may lie on the other side
TRIED = 40  # of those, the nearest to 0 that are looked at
DSA = ["color", "crop", "cutout", "flip", "scale", "rotate"]


class Problem:
    """One draw: a file's tensors, the network, and what both sides are told."""

    def __init__(self, real, syn, net, method, rng):
        self.net, self.classes, self.ipc = net, len(real), syn.shape[1]
        self.method, self.words = method, method.get("words", [])
        self.tensors = {
            "syn": syn.reshape(-1, *syn.shape[2:]),
            "real": real.reshape(-1, *real.shape[2:]),
            "theta": np.concatenate([net.draw(rng) for _ in range(method.get("networks", 1))]),
        }
        steps = method.get("steps", 0)
        if not steps:
            rows = [draw_augmentation(rng, self.words, syn.shape[-1], 1, True) for _ in real]
        else:
            batch = method.get("batch", self.classes)
            rows = [draw_augmentation(rng, self.words, syn.shape[-1], batch, False) for _ in range(steps)]
            if "rate" not in method:
                self.tensors["lr"] = rng.uniform(0.01, 0.02, steps if "turns" in method else 1).astype(np.float32)
        self.tensors["aug"] = np.concatenate(rows)
        if "batch" in method:
            stream = [rng.permutation(len(self.tensors["syn"])) for _ in range(steps)]
            self.tensors["index"] = np.concatenate(stream)[: steps * batch].reshape(steps, batch).astype(np.int32)
            if method["loss"] is trajectory:
                self.tensors["target"] = self.train()
        if "labels" in method:
            self.tensors["labels"] = rng.standard_normal((len(self.tensors["syn"]), self.classes)).astype(np.float32)
            self.tensors["labels"] += 3 * self.hard(torch.float32, self.ipc).numpy()
        if "temperature" in method:
            self.tensors["temperature"] = np.zeros(1, np.float32)
        self.wrt = ({} if "labels only" in method else {"images": "syn"}) | {k: k for k in ("lr", "labels", "temperature") if k in self.tensors}

    def hard(self, dtype, per):
        """One-hot labels of `per` images a class."""
        return torch.eye(self.classes, dtype=dtype).repeat_interleave(per, 0)

    def train(self):
        """Where twenty steps on the real images lead from theta."""
        x, theta = torch.tensor(self.tensors["real"]), torch.tensor(self.tensors["theta"])
        y = self.hard(torch.float32, len(x) // self.classes)
        for _ in range(20):
            theta.requires_grad_()
            (g,) = torch.autograd.grad(cross_entropy(self.net(theta, x, Relu())[1], y), theta)
            theta = (theta - 0.03 * g).detach()
        return theta.numpy()

    def torch(self, dtype):
        t = {k: torch.tensor(v, dtype=torch.long if k == "index" else dtype) for k, v in self.tensors.items()}
        for k in ("theta", *self.wrt.values()):
            t[k].requires_grad_()
        return t


def cross_entropy(logits, y):
    return -(y * torch.log_softmax(logits, 1)).sum(1).mean()


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


def unroll(p, t, relu):
    """The network after the steps of a method, differentiable through all of them."""
    m, theta, v = p.method, t["theta"], 0
    y = t["labels"] if "labels" in t else p.hard(t["syn"].dtype, p.ipc)
    if m.get("labels") == "logits":
        y = torch.softmax(y, 1)
    for i in range(m["steps"]):
        pick = t["index"][i] if "index" in t else torch.arange(p.classes) * p.ipc + i % p.ipc
        x = augment(t["syn"][pick], t["aug"][i * len(pick) : (i + 1) * len(pick)], p.words)
        at = theta.detach().requires_grad_() if m.get("constant") else theta
        (g,) = torch.autograd.grad(cross_entropy(p.net(at, x, relu)[1], y[pick]), at, create_graph=True)
        v = m.get("momentum", 0) * v + g
        theta = theta - (t["lr"][i % len(t["lr"])] if "lr" in t else m["rate"]) * v
    return theta


def trajectory(p, t, relu):
    start, target = t["theta"].detach(), t["target"]
    return (unroll(p, t, relu) - target).square().sum() / (start - target).square().sum()


def performance(p, t, relu):
    y = p.hard(t["real"].dtype, len(t["real"]) // p.classes)
    return cross_entropy(p.net(unroll(p, t, relu), t["real"], relu)[1], y)


def regression(p, t, relu):
    """Labels through a ridge regression on the features of a batch; the classifier so far is 0, its scale 1."""
    pick, theta = t["index"][0], t["theta"].detach()
    phi = lambda x: torch.cat([p.net(theta, x, relu)[0], torch.ones(len(x), 1, dtype=x.dtype)], 1)
    f = phi(t["syn"][pick])
    w = 0.3 * f.T @ torch.linalg.solve(f @ f.T + 2 * torch.eye(len(f), dtype=f.dtype), t["labels"][pick])
    return cross_entropy(phi(t["real"]) @ w, p.hard(f.dtype, len(t["real"]) // p.classes))


def trajectory_of(name, steps, batch, labels=None, momentum=0.0, words=DSA, constant=False, keep=512):
    told = ["--method", name, "--set", f"syn_steps={steps}", "--set", f"batch_syn={batch}", "--set", f"keep={keep}"]
    told += ["--set", f"momentum={momentum}"] + (["--set", "labels=learned"] if labels else [])
    m = {"loss": trajectory, "told": told, "words": words, "steps": steps, "batch": batch, "momentum": momentum}
    return m | ({"labels": labels} if labels else {}) | ({"constant": True} if constant else {})


def performance_of(name, turns, labels=None, momentum=0.0, words=()):
    told = ["--method", name, "--set", f"distill_epochs={turns}", "--set", f"momentum={momentum}"]
    m = {"loss": performance, "told": told, "words": list(words), "turns": turns, "steps": 2 * turns}
    return m | {"momentum": momentum} | ({"labels": labels} if labels else {})


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


def kernel_of(name, kernel, more=(), labels=None, **counts):
    """KIP's loss by a kernel of kernels.py."""

    def loss(p, t, relu):
        share = 1 / p.classes
        y = t["labels"] if "labels" in t else p.hard(t["syn"].dtype, p.ipc) - share
        kss, kts = (kernel(a, t["syn"], a is t["syn"]) for a in (t["syn"], t["real"]))
        n = len(kss)
        a = kss + 1e-3 * kss.trace() / n * torch.eye(n, dtype=kss.dtype)
        target = p.hard(t["syn"].dtype, len(t["real"]) // p.classes) - share
        return (kts @ torch.linalg.solve(a, y) - target).square().mean() / 2

    told = ["--method", "kip", "--set", f"kernel={name}", "--set", "ridge=0.001", *more]
    told += ["--set", "labels=learned"] if labels else []
    return {"loss": loss, "told": told} | counts | ({"labels": labels} if labels else {})


def frepo(p, t, relu):
    """The set and its mirror images regress the real ones on a network's features; labels keep their margin. The
    regression is in double, as attar's: kernels of features are nearly of rank one, and float32 is 1e-4 off."""
    theta, share = t["theta"].detach(), 1 / p.classes
    learned = "labels" in t
    u = t["labels"] if learned else p.hard(t["syn"].dtype, p.ipc) - share
    f = p.net(theta, torch.cat([t["syn"], t["syn"].flip(3)]) if learned else t["syn"], relu)[0].double()
    y = (torch.cat([u, u]) if learned else u).double()
    with torch.no_grad():
        ft = p.net(theta, t["real"], relu)[0].double()
    kss = f @ f.T
    a = kss + 0.01 * kss.trace() / len(f) * torch.eye(len(f), dtype=f.dtype)
    target = p.hard(f.dtype, len(t["real"]) // p.classes) - share
    loss = (ft @ f.T @ torch.linalg.solve(a, y) - target).square().sum() / 2 / len(target)
    top = u.topk(2, 1).values
    return loss - torch.clamp(top[:, 0] - top[:, 1], max=share).mean() if learned else loss


def rfad(p, t, relu):
    """The features of several networks regress; e^tau times the predictions are logits, or their error is squared.
    The regression is in double, as the authors'."""
    n, share = p.method["networks"], 1 / p.classes
    nets = t["theta"].detach().chunk(n)
    phi = lambda x: torch.cat([p.net(w, x, relu)[0] for w in nets], 1).double() / (n * p.net.features) ** 0.5
    f = phi(t["syn"])
    with torch.no_grad():
        ft = phi(t["real"])
    kss, kts = 2 * f @ f.T + 0.01, 2 * ft @ f.T + 0.01
    y = t["labels"].double() if "labels" in t else p.hard(f.dtype, p.ipc) - share
    out = kts @ torch.linalg.solve(kss + 0.005 * kss.trace() / len(f) * torch.eye(len(f), dtype=f.dtype), y)
    hard = p.hard(f.dtype, len(out) // p.classes)
    if p.method.get("squared"):
        return (out - hard + share).square().mean() / 2
    return cross_entropy(t["temperature"].exp() * out, hard)


# loss: the objective; real: images a class; side: pixels of the middle that are taken; told: how attar is; words:
# augmentation; steps, batch: of unrolled training; labels: how learned
METHODS = {
    "dm": {"loss": dm, "told": ["--method", "dm"], "words": DSA},
    "cafe": {"loss": cafe, "told": ["--method", "cafe"]},
    "cafe-dsa": {"loss": cafe, "told": ["--method", "cafe", "--set", "chunk=10", "--set", "chunk_syn=4"], "words": DSA},
    "cafe-parts": {"loss": cafe, "told": ["--method", "cafe", "--set", "chunk=10", "--set", "chunk_syn=1"], "words": DSA},
    "dc": {"loss": dc, "told": ["--method", "dc"]},
    "dc-l2": {"loss": dc_l2, "told": ["--method", "dc", "--set", "distance=l2"]},
    "dc-cosine": {"loss": dc_cosine, "told": ["--method", "dc", "--set", "distance=cosine"]},
    "dsa": {"loss": dc, "told": ["--method", "dsa"], "words": DSA},
    "dcc": {"loss": dcc, "told": ["--method", "dcc"], "words": DSA},
    # Fifty steps carry float32's rounding across kinks that no list of near ones holds, on one processor if not on
    # another: a smooth network. The rows of fewer steps have ReLU.
    "mtt": trajectory_of("mtt", 50, 12, momentum=0.5) | {"act": "swish"},
    "mtt-10": trajectory_of("mtt", 10, 12, momentum=0.5),
    "mtt-anew": trajectory_of("mtt", 10, 12, momentum=0.5, keep=0),
    "mtt-labels": trajectory_of("mtt", 10, 20, labels="raw"),
    "tesla": trajectory_of("tesla", 20, 12, constant=True),
    "datm": trajectory_of("datm", 20, 12, labels="logits"),
    "dd": performance_of("dd", 3, momentum=0.5, words=DSA),
    "dd-50": performance_of("dd", 25, momentum=0.5, words=DSA) | {"act": "swish"},
    "sldd": performance_of("sldd", 3, labels="raw"),
    "ld": {"loss": performance, "told": ["--method", "ld", "--set", "batch_syn=15"], "steps": 1, "batch": 15,
           "rate": 0.01, "labels": "raw", "labels only": True},
    "ld-ridge": {"loss": regression, "steps": 1, "batch": 15, "rate": 0, "labels": "raw", "labels only": True,
                 "told": ["--method", "ld", "--set", "batch_syn=15", "--set", "form=ridge", "--set", "ridge=2",
                          "--set", "mix=0.3"]},
    "frepo": {"loss": frepo, "labels": "raw", "told": ["--method", "frepo", "--set", "ridge=0.01", "--set", "flip=true"]},
    "frepo-hard": {"loss": frepo, "told": ["--method", "frepo", "--set", "ridge=0.01", "--set", "labels=hard"]},
    "rfad": {"loss": rfad, "labels": "raw", "networks": 2, "temperature": True, "told": ["--method", "rfad", "--set", "networks=2", "--set", "labels=learned"]},
    "rfad-squared": {"loss": rfad, "networks": 3, "squared": True,
                     "told": ["--method", "rfad", "--set", "networks=3", "--set", "loss=squared", "--set", "memory=1", "--set", "chunk=3"]},
    "kip-fc1": kernel_of("fc:depth=1", kernels.fc_of(1), labels="raw"),
    "kip-fc3": kernel_of("fc:depth=3", kernels.fc_of(3)),
    "kip-conv": kernel_of("conv:depth=2,pool=none", kernels.conv_of(2, False), side=4, real=4),
    "kip-pool": kernel_of("conv:depth=2", kernels.conv_of(2, True), labels="raw", side=4, real=4),
    "kip-shrunk": kernel_of("conv:depth=1,shrink=2", kernels.conv_of(1, True, 2), side=4, real=4),
    "kip-blocks": kernel_of("conv:depth=2", kernels.conv_of(2, True), ["--set", "memory=1"], labels="raw", side=4, real=4),
}


def unread(p):
    """Tensors of a draw that attar's side refuses, since the method reads none."""
    yield "temperature"  # which begins at 0
    if not p.words:
        yield "aug"
    if p.method["loss"] is trajectory:
        yield "real"
    if "kip" in p.method["told"]:
        yield "theta"


def attar(program, p, dtype, backend, folder):
    a, b = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    write_tensors(a, {k: v for k, v in p.tensors.items() if k not in unread(p)})
    subprocess.run(
        [program, "grad", *p.method["told"], "--net", p.net.spec, "--ipc", str(p.ipc), "--aug", "_".join(p.words) or "none",
         "--type", dtype, "--backend", backend, a, b], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return read_tensors(b)


def by_torch(p, dtype, relu):
    """Loss and gradients, named as attar names them."""
    relu.rewind()
    t = p.torch(dtype)
    loss = p.method["loss"](p, t, relu)
    grads = torch.autograd.grad(loss, [t[k] for k in p.wrt.values()])
    return loss.item(), {k: g.double().numpy() for k, g in zip(p.wrt, grads)}


def distance(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b))


def worst_of(ours, grads):
    return max(distance(ours[k], g) for k, g in grads.items())


def compare(program, p, dtype, backend, folder):
    """The largest error of loss and gradients, and how many ReLU inputs were put on the other side."""
    ours, relu, moved = attar(program, p, dtype, backend, folder), Relu(), 0
    loss, grads = by_torch(p, getattr(torch, dtype), relu)
    error = worst_of(ours, grads)
    for _, call, at in sorted(relu.near)[:TRIED] if dtype == "float32" and error > LIMITS[dtype] / 10 else []:
        if moved == MOST or error <= LIMITS[dtype] / 10:
            break
        relu.masks[call][at] ^= True
        now = worst_of(ours, by_torch(p, torch.float32, relu)[1])
        if now < error / 2:
            error, moved = now, moved + 1
        else:
            relu.masks[call][at] ^= True
    return max(error, abs(float(ours["loss"]) - loss) / abs(loss)), moved


def difference(p, rng, ours):
    """attar's float64 gradients against PyTorch's loss on both sides, on this side of every kink."""
    relu, worst = Relu(), 0.0
    by_torch(p, torch.float64, relu)
    for name, key in p.wrt.items():
        way = rng.standard_normal(p.tensors[key].shape)
        side, step = [], 1e-6 if key == "lr" else 1e-5
        for sign in (1, -1):
            relu.rewind()
            t = p.torch(torch.float64)
            t[key] = t[key] + sign * step * torch.tensor(way)
            side.append(p.method["loss"](p, t, relu).item())
        slope, along = (side[0] - side[1]) / (2 * step), float((ours[name] * way).sum())
        size = np.linalg.norm(ours[name]) * np.linalg.norm(way) / np.sqrt(way.size)
        worst = max(worst, abs(slope - along) / size)
    return worst


def real_images(program, data, folder):
    """[classes,n,C,H,W] random real images, normalised, through attar's own export."""
    out, npz = os.path.join(folder, "real"), os.path.join(folder, "real.npz")
    subprocess.run([program, "distill", "--data", data, "--method", "random", "--ipc", "40", "--out", out, "--quiet",
                    "--set", "eval_repeats=0"], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    subprocess.run([program, "export", out, "--to", "npz", "--out", npz], check=True, stdout=subprocess.DEVNULL)
    images = np.load(npz)["images"]
    return images.reshape(-1, 40, *images.shape[1:]).astype(np.float32)


def middle(images, method):
    """Kernels of all pairs of pixels are for small images."""
    cut = (images.shape[-1] - method.get("side", images.shape[-1])) // 2
    return np.ascontiguousarray(images[..., cut : images.shape[-2] - cut, cut : images.shape[-1] - cut])


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
        classes, big = len(images), images.shape[3] >= 28
        for name in args.methods.split(","):
            method, worst, moved = METHODS[name], dict.fromkeys(LIMITS, 0.0), 0
            shape = middle(images, method).shape[2:]
            wide = ConvNet(shape, classes, 3 if big else 2, 128 if big else 32, method.get("act", "relu"))
            narrow = ConvNet(shape, classes, 2, 6)
            for draw in range(args.draws):
                rng = np.random.default_rng([draw, len(name)])
                pick = rng.permutation(40)
                real, syn = middle(images[:, pick[: method.get("real", 24)]], method), middle(images[:, pick[24:26]], method)
                for net, dtype, backend in ((wide, "float32", "cpu"), (narrow, "float64", "ref")):
                    p = Problem(real, syn, net, method, rng)
                    error, k = compare(args.attar, p, dtype, backend, folder)
                    worst[dtype], moved = max(worst[dtype], error), moved + k
                if "constant" in method:
                    continue  # not the gradient of its loss, and not meant to be
                slope = difference(p, rng, attar(args.attar, p, "float64", "ref", folder))
                worst["difference"] = max(worst["difference"], slope)
            good = all(worst[k] <= v for k, v in LIMITS.items()) and worst["float32"] > 0
            bad = bad or not good
            print(f"{name:<12} float32 {worst['float32']:.1e}  float64 {worst['float64']:.1e}  "
                  f"difference {worst['difference']:.1e}  signs changed {moved}  {'ok' if good else 'OFF'}")  # fmt: skip
            sys.stdout.flush()
    sys.exit(1 if bad else 0)


main()
