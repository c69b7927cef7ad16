#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One step of a method that takes more than a gradient of a loss, or a kernel, for bench/run, in PyTorch: loss and gradients, no update; prints one JSON object.

    bench/torch_gradients.py CASE THREADS [--channels-last] [--compile] [--steps N]
    bench/torch_gradients.py CASE THREADS --make IN.safetensors [--steps N] [--act swish]
    bench/torch_gradients.py CASE THREADS --check IN.safetensors OUT.safetensors [--act swish]

CASE: dc1, dc10, dsa10 (a matching step over 10 classes, 256 real images each), mtt10 (inner steps of 100 images, DSA),
mtt1 (50 inner steps of 10 images, DSA), dd (30 steps of 10 images, judged on 1,020 real ones), kip and kip64 (the kernel
of three hidden layers, 100 images, 5,000 real ones, float32 and float64), frepo (1,000 real images, 100 images
and their labels; features of a ConvNet), rfad (the same with two networks of random weights). --make writes the numbers
that attar is timed on and prints what bench_gradients is told; --check compares loss and gradients from the same file,
attar's (OUT) and PyTorch's in float32, with float64.

Timed is what a user would write: parameters as a list of tensors, torch.autograd.grad with create_graph, for unrolled
steps the graph of all of them, and the DSA code of tests/parity/eval_parity.py, one strategy for a batch; the real
images are ready. Kernels are by the recursion of tests/parity/kernels.py; the regression, of 100 images, is in double on
both sides. PyTorch's compiler does not differentiate twice what it compiled. So compiled are, for matching, the
gradients of the real images; for unrolled steps a whole step, written with torch.func.grad, whose compiled form is
differentiated once. --check computes the same with attar's draws of augmentation, by tests/parity/model.py. A ReLU
input within rounding of 0 may fall on either side, and among the millions of a matching step some do, by which gradients
differ in the third digit between any two implementations: swish in its place shows whether all else is the same.
"""
import argparse
import json
import resource

from torch_steps import AUG, CLASSES, REAL, augment, median_of, prepared  # may start the process once more

import numpy as np
import kernels
import torch
from model import ConvNet, draw_augmentation, read_tensors, write_tensors
from model import augment as augment_by
from torch.nn import functional as F

IMAGE, WIDTH, LR, JUDGES = (1, 28, 28), 128, 0.02, 102  # JUDGES: real images a class, of dd
LENET = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (CLASSES, 84), (CLASSES,)]
CASES = {  # method, images per class, real images per class, inner steps, augmented
    "dc1": ("dc", 1, REAL, 0, False),
    "dc10": ("dc", 10, REAL, 0, False),
    "dsa10": ("dsa", 10, REAL, 0, True),
    "mtt10": ("mtt", 10, 0, 3, True),
    "mtt1": ("mtt", 1, 0, 50, True),
    "dd": ("dd", 10, JUDGES, 30, False),
    "kip": ("kip", 10, 500, 0, False),
    "kip64": ("kip", 10, 500, 0, False),
    "frepo": ("frepo", 10, 100, 0, False),
    "rfad": ("rfad", 10, 100, 0, False),
}
REGRESSED = {"kip": [], "frepo": ["labels=learned"], "rfad": ["labels=learned", "networks=2"]}  # method: settings
NETWORKS = 2  # of rfad


class Case:
    def __init__(self, args):
        self.method, self.ipc, self.per, self.steps, self.augmented = CASES[args.case]
        self.steps = args.steps or self.steps
        self.words = AUG if self.augmented else []
        self.wide = args.case == "kip64"
        self.batch = CLASSES if self.method == "dd" else CLASSES * self.ipc  # of an inner step
        self.shapes = LENET if self.method == "dd" else ConvNet(IMAGE, CLASSES, 3, WIDTH).shapes
        self.act = args.act
        act = F.relu if args.act == "relu" else F.silu
        self.phi = embedding(act)
        self.net = (lenet if self.method == "dd" else convnet)(act)

    def told(self):
        """Arguments of bench_gradients, from the method on."""
        net = f"lenet:act={self.act}" if self.method == "dd" else f"convnet:depth=3,width={WIDTH},act={self.act}"
        regressed = REGRESSED.get(self.method, []) + ["kernel=fc:depth=3", f"double={str(self.wide).lower()}"] * (self.method == "kip")
        sets = {"mtt": [f"syn_steps={self.steps}"], "dd": [f"distill_epochs={self.steps // self.ipc}"]}
        return [self.method, str(self.ipc), net, "_".join(self.words) or "none", *sets.get(self.method, regressed)]


def embedding(act):
    def phi(p, x):
        for i in range(3):
            w, b, scale, shift = p[4 * i : 4 * i + 4]
            x = F.conv2d(x, w, b, padding=3 if i == 0 else 1)
            x = F.avg_pool2d(act(F.group_norm(x, WIDTH, scale, shift)), 2)
        return x.flatten(1)

    return phi


def convnet(act):
    phi = embedding(act)
    return lambda p, x: F.linear(phi(p, x), p[-2], p[-1])


def lenet(act):
    def net(p, x):
        x = F.max_pool2d(act(F.conv2d(x, p[0], p[1], padding=2)), 2)
        x = F.max_pool2d(act(F.conv2d(x, p[2], p[3])), 2).flatten(1)
        return F.linear(act(F.linear(act(F.linear(x, p[4], p[5])), p[6], p[7])), p[8], p[9])

    return net


def gradient(net, p, x, y, graph=False):
    return torch.autograd.grad(F.cross_entropy(net(p, x), y), p, create_graph=graph)


def row_cosine(real, syn):
    """1 - cos over the rows of every tensor that has more than one axis."""
    out = 0
    for a, b in zip(real, syn):
        if a.dim() > 1:
            a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
            out = out + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return out


def matching(case, t, change, real_gradient):
    """Distance and its gradient by the images; a class at a time, which keeps the graph of one."""
    total, grads = 0, []
    for c in range(CLASSES):
        x, s = t["real"][c * case.per : (c + 1) * case.per], t["syn"][c * case.ipc : (c + 1) * case.ipc]
        s = s.detach().requires_grad_()
        labels = torch.full((case.per,), c)
        x, seen = change(x, s, c)
        target = real_gradient(t["theta"], x, labels)
        loss = row_cosine(target, gradient(case.net, t["theta"], seen, labels[: case.ipc], True))
        grads.append(torch.autograd.grad(loss, s)[0])
        total += loss.item()
    return total, {"images": torch.cat(grads)}


def unrolled(case, t, change, step, judge):
    """Loss after the inner steps and its gradients by images and step sizes, through all of them."""
    p, labels = t["theta"], torch.arange(CLASSES).repeat_interleave(case.batch // CLASSES)
    for i in range(case.steps):
        if case.method == "dd":
            x = t["syn"].view(CLASSES, case.ipc, *t["syn"].shape[1:])[:, i % case.ipc]
        else:
            x = t["syn"]
        p = step(p, change(x, i), labels, t["lr"][i % len(t["lr"])])
    loss = judge(p, t)
    return loss.item(), dict(zip(("images", "lr"), torch.autograd.grad(loss, (t["syn"], t["lr"]))))


def regressed(case, t, kernel, phi):
    """Loss of a kernel ridge regression and its gradients by images and, where they are learned, labels."""
    hard = lambda n: torch.eye(CLASSES, dtype=t["syn"].dtype).repeat_interleave(n, 0)
    y, target = t["labels"] if "labels" in t else hard(case.ipc) - 1 / CLASSES, hard(case.per)
    ridge, n = 5e-3 if case.method == "rfad" else 1e-6, CLASSES * case.ipc
    if case.method == "kip":
        kss, kts = kernel(t["syn"], t["syn"], True), kernel(t["real"], t["syn"], False)
    else:
        nets = t["theta"] if case.method == "rfad" else [t["theta"]]
        with torch.no_grad():
            ft = torch.cat([phi(p, t["real"]) for p in nets], 1)
        fs = torch.cat([phi(p, t["syn"]) for p in nets], 1)
        kss, kts = fs.double() @ fs.double().T, ft @ fs.T
        if case.method == "rfad":
            kss, kts = 2 / fs.shape[1] * kss + 0.01, 2 / fs.shape[1] * kts + 0.01
    a = kss.double() + ridge * kss.double().trace() / n * torch.eye(n, dtype=torch.float64)
    p = kts @ torch.linalg.solve(a, y.double()).to(kts.dtype)
    if case.method == "rfad":
        loss = -(target * torch.log_softmax(p, 1)).sum(1).mean()  # the factor is 1 at first
    else:
        loss = (p - target + 1 / CLASSES).square().sum() / 2 / len(p) / (CLASSES if case.method == "kip" else 1)
    if case.method == "frepo":
        top = t["labels"].topk(2, 1).values
        loss = loss - torch.clamp(top[:, 0] - top[:, 1], max=1 / CLASSES).mean()
    by = {k: t[v] for k, v in (("images", "syn"), ("labels", "labels")) if v in t}
    return loss.item(), dict(zip(by, torch.autograd.grad(loss, list(by.values()))))


def plain_step(net):
    return lambda p, x, y, lr: [a - lr * g for a, g in zip(p, gradient(net, p, x, y, True))]


def functional_step(net):
    by_theta = torch.func.grad(lambda p, x, y: F.cross_entropy(net(p, x), y))
    return lambda p, x, y, lr: [a - lr * g for a, g in zip(p, by_theta(p, x, y))]


def judged(case, net):
    """What is differentiated in the end: loss on real images, or distance from the target."""
    if case.method == "dd":
        y = torch.arange(CLASSES).repeat_interleave(case.per)
        return lambda p, t: F.cross_entropy(net(p, t["real"]), y)
    squares = lambda a, b: sum((u - v).square().sum() for u, v in zip(a, b))
    return lambda p, t: squares(p, t["target"]) / squares(t["theta"], t["target"]).detach()


def numbers(case):
    """The tensors of a file: theta uniform on +-1/sqrt(fan_in), images of unit variance, one strategy a class or step."""
    rng, theta, fan = np.random.default_rng(1), [], 1
    for i, s in enumerate(case.shapes):
        if case.method != "dd" and i < 12 and i % 4 >= 2:
            theta.append((i % 4 == 2) + 0.1 * rng.standard_normal(s))
            continue
        fan = int(np.prod(s[1:])) if len(s) > 1 else fan
        theta.append(rng.uniform(-1, 1, s) / np.sqrt(fan))
    t = {"theta": np.concatenate([v.ravel() for v in theta]).astype(np.float32)}
    if case.method == "rfad":
        t["theta"] = np.tile(t["theta"], NETWORKS) * (1 + 0.1 * rng.standard_normal(NETWORKS * len(t["theta"])).astype(np.float32))
    images = lambda per: rng.standard_normal((CLASSES * per, *IMAGE)).astype(np.float32)
    t["syn"] = images(case.ipc)
    if case.per:
        t["real"] = images(case.per)
    if not case.steps:
        rows = [draw_augmentation(rng, case.words, 28, 1, True) for _ in range(CLASSES)]
    else:
        rows = [draw_augmentation(rng, case.words, 28, case.batch, False) for _ in range(case.steps)]
        t["lr"] = np.full(case.steps if case.method == "dd" else 1, LR, np.float32)
    t["aug"] = np.concatenate(rows)
    if "labels=learned" in REGRESSED.get(case.method, []):
        t["labels"] = rng.standard_normal((CLASSES * case.ipc, CLASSES)).astype(np.float32)
    if case.method == "mtt":
        t["target"] = t["theta"] + 0.01 * rng.standard_normal(len(t["theta"])).astype(np.float32)
        t["index"] = np.tile(np.arange(case.batch, dtype=np.int32), (case.steps, 1))
    return t


def split(case, vector):
    parts = vector.split([int(np.prod(s)) for s in case.shapes])
    return [v.reshape(s).clone() for v, s in zip(parts, case.shapes)]


def tensors(case, arrays, dtype, args):
    t = {k: torch.tensor(v, dtype=dtype) for k, v in arrays.items() if k not in ("index", "aug")}
    for k in ("theta", "target"):
        if k in t:
            nets = [[prepared(v, args) if v.dim() == 4 else v for v in split(case, v)] for v in t[k].chunk(NETWORKS if case.method == "rfad" else 1)]
            t[k] = nets if case.method == "rfad" else nets[0]
    for v in t["theta"] if case.method not in REGRESSED else []:
        v.requires_grad_()
    for k in ("real", "syn"):
        if k in t:
            t[k] = prepared(t[k], args)
    for k in ("syn", "lr", "labels"):
        if k in t:
            t[k].requires_grad_()
    return t


def time(case, args):
    t = tensors(case, numbers(case), torch.float64 if case.wide else torch.float32, args)
    if case.method in REGRESSED:
        faster = (lambda f: torch.compile(f, dynamic=False)) if args.compile else lambda f: f  # a program for each size
        kernel, phi = faster(kernels.fc_of(3)), faster(case.phi)
        return median_of(lambda: regressed(case, t, kernel, phi), 9)
    if not case.steps:
        def siamese(x, s, c):
            how = [AUG[torch.randint(len(AUG), ()).item()]] if case.augmented else []
            return prepared(augment(x, how), args), prepared(augment(s, how), args)

        first = torch.compile(case.net) if args.compile else case.net
        return median_of(lambda: matching(case, t, siamese, lambda p, x, y: gradient(first, p, x, y)), 3)
    step = torch.compile(functional_step(case.net)) if args.compile else plain_step(case.net)
    judge = judged(case, torch.compile(case.net) if args.compile else case.net)
    change = lambda x, i: prepared(augment(x, case.words), args)
    return median_of(lambda: unrolled(case, t, change, step, judge), 1 if args.steps else 3, 0 if args.steps else 1)


def outcome(case, arrays, dtype, args):
    """Loss and gradients in one vector, with the file's draws."""
    t, row = tensors(case, arrays, dtype, args), torch.tensor(arrays["aug"], dtype=dtype)
    if case.method in REGRESSED:
        got = regressed(case, t, kernels.fc_of(3), case.phi)
    elif not case.steps:
        by = lambda x, c: augment_by(x, row[c : c + 1].expand(len(x), -1), case.words)
        got = matching(case, t, lambda x, s, c: (by(x, c), by(s, c)), lambda p, x, y: gradient(case.net, p, x, y))
    else:
        by = lambda x, i: augment_by(x, row[i * case.batch : (i + 1) * case.batch], case.words)
        got = unrolled(case, t, by, plain_step(case.net), judged(case, case.net))
    return {"loss": torch.tensor([got[0]]), **got[1]}


def check(case, args):
    """The worst relative error of loss and gradients against float64: attar's, and PyTorch's own in float32."""
    arrays, ours = numbers(case) | read_tensors(args.check[0]), read_tensors(args.check[1])
    exact, single = (outcome(case, arrays, dtype, args) for dtype in (torch.float64, torch.float32))
    off = lambda a: max(float((a(k).double().flatten() - v.flatten()).norm() / v.norm()) for k, v in exact.items())
    return {"error": off(lambda k: torch.tensor(np.array(ours[k]))), "torch": off(lambda k: single[k])}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=CASES)
    p.add_argument("threads", type=int)
    p.add_argument("--channels-last", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--steps", type=int, help="inner steps in place of the case's; timed once, the first time")
    p.add_argument("--act", choices=("relu", "swish"), default="relu")
    p.add_argument("--make", metavar="FILE")
    p.add_argument("--check", nargs=2, metavar="FILE")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    case = Case(args)
    if args.make:
        t = numbers(case)
        if not case.words:
            del t["aug"]  # attar refuses what a method does not read
        if case.method == "kip":
            del t["theta"]
        write_tensors(args.make, t)
        print(json.dumps({"told": case.told()}))
    elif args.check:
        print(json.dumps(check(case, args)))
    else:
        seconds = time(case, args)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak, "version": torch.__version__}))


main()
