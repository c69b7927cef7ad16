#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One case of bench/run in PyTorch: the same work as attar's, timed the same way; prints one JSON object.

    bench/torch_steps.py CASE THREADS [--channels-last] [--compile] [--check FILE.safetensors]

CASE: train (an SGD step, batch 256, 1x28x28, ConvNet-3 of width 128), infer (10,000 images), evaluate (a network
trained for 1001 epochs on 100 images with DSA, and 10,000 test images; from some epochs and one test), dm (an iteration
of distribution matching, 10 classes, 256 real and 10 synthetic images each, DSA). --check compares loss and gradient,
or logits, of bench_steps and of PyTorch in float32 with float64. Memory is tuned as tests/parity/eval_parity.py has it, whose network and
augmentation these are.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "tests", "parity"))
from eval_parity import augment, convnet, cross_entropy, optimiser  # noqa: E402 - may start the process once more

import numpy as np  # noqa: E402
import torch  # noqa: E402
from cases import read_cases  # noqa: E402

CLASSES, IMAGES, BATCH, REAL, IPC, EPOCHS = 10, 10000, 256, 256, 10, 1001
AUG = "color_crop_cutout_flip_scale_rotate".split("_")


def prepared(x, args):
    return x.contiguous(memory_format=torch.channels_last) if args.channels_last else x


def network(args):
    net = convnet(1, 28, CLASSES, 128)
    return net.to(memory_format=torch.channels_last) if args.channels_last else net


def called(net, args):
    """What is called in the network's place: itself, or PyTorch's compiler's version of it."""
    return torch.compile(net) if args.compile else net


def median_of(step, n, warm=1):
    times = []
    for i in range(n + warm):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[warm:])


def train_step(net, x, y, opt):
    loss = cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def time_train(args):
    net, x = network(args), prepared(torch.randn(BATCH, 1, 28, 28), args)
    y, opt = torch.eye(CLASSES)[torch.arange(BATCH) % CLASSES], optimiser(net, 0.01)
    net = called(net, args)
    return median_of(lambda: train_step(net, x, y, opt), 7)


def time_infer(args, n=IMAGES):
    net, x = called(network(args), args), prepared(torch.randn(n, 1, 28, 28), args)

    batches = x.split(BATCH)
    with torch.no_grad():
        for batch in (batches[0], batches[-1]):  # both sizes once, untimed
            net(batch)
        start = time.perf_counter()
        for batch in batches:
            net(batch)
        return time.perf_counter() - start


def time_evaluate(args):
    net, x = network(args), prepared(torch.randn(100, 1, 28, 28), args)
    y, opt = torch.eye(CLASSES)[torch.arange(100) % CLASSES], optimiser(net, 0.01)
    net = called(net, args)
    epoch = median_of(lambda: train_step(net, augment(x, AUG), y, opt), 15, 3)
    return EPOCHS * epoch + time_infer(args)


def time_dm(args):
    real = prepared(torch.randn(CLASSES * REAL, 1, 28, 28), args)
    syn = torch.randn(CLASSES * IPC, 1, 28, 28, requires_grad=True)
    opt = torch.optim.SGD([syn], lr=1.0, momentum=0.5)
    embed = network(args)[:-1].requires_grad_(False)
    body = called(embed, args)

    def iteration():
        for p, q in zip(embed.parameters(), network(args)[:-1].parameters()):  # a compiled network keeps its weights' place
            p.data.copy_(q.data)
        targets, seen = [], []
        for c in range(CLASSES):
            how = [AUG[torch.randint(len(AUG), ()).item()]]
            with torch.no_grad():
                targets.append(body(augment(real[c * REAL : (c + 1) * REAL], how)).mean(0))
            seen.append(augment(syn[c * IPC : (c + 1) * IPC], how))
        mine = body(prepared(torch.cat(seen), args)).view(CLASSES, IPC, -1).mean(1)
        loss = (torch.stack(targets) - mine).square().sum()
        opt.zero_grad()
        loss.backward()
        opt.step()

    return median_of(iteration, 3)


def load(net, theta):
    """theta is the parameters one behind the other in the order of the layers, each weight before its bias."""
    at = 0
    for p in net.parameters():
        p.data = torch.tensor(theta[at : at + p.numel()]).reshape(p.shape).clone()
        at += p.numel()
    assert at == len(theta)


def outcome(t, dtype):
    """Loss and gradient in one vector, or the logits."""
    net = convnet(1, 28, CLASSES, 128)
    load(net, t["theta"])
    net.to(dtype)
    x, y = torch.tensor(t["x"], dtype=dtype), torch.tensor(t["labels"], dtype=dtype)
    if "logits" in t:
        with torch.no_grad():
            return torch.cat([net(batch) for batch in x[: 4 * BATCH].split(BATCH)]).flatten().double()
    loss = cross_entropy(net(x), y)
    loss.backward()
    decayed = [(p.grad + 5e-4 * p.detach()).flatten() for p in net.parameters()]
    return torch.cat([loss.detach().reshape(1), *decayed]).double()


def check(args):
    """Relative errors against float64: attar's, and PyTorch's own in float32. A ReLU input within rounding of 0 may fall
    on either side; among the tens of millions of a training step some do, which neither side can avoid."""
    t = read_cases(args.check)["case"]
    exact, single = outcome(t, torch.float64), outcome(t, torch.float32)
    if "logits" in t:
        ours = torch.tensor(t["logits"][: 4 * BATCH]).flatten().double()
    else:
        ours = torch.tensor(np.concatenate([t["loss"], t["gradient"]])).double()
    return {"error": float((ours - exact).norm() / exact.norm()), "torch": float((single - exact).norm() / exact.norm())}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", choices=("train", "infer", "evaluate", "dm"))
    p.add_argument("threads", type=int)
    p.add_argument("--channels-last", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--check")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    np.random.seed(0)
    if args.check:
        print(json.dumps(check(args)))
        return
    seconds = {"train": time_train, "infer": time_infer, "evaluate": time_evaluate, "dm": time_dm}[args.case](args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "version": torch.__version__}))


if __name__ == "__main__":
    main()
