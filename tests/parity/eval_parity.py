#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An independent judge of a synthetic set: trains PyTorch ConvNet-3 by the field's protocol and tests it.

Reads what `attar export` wrote (--npz FILE, or --pt DIR with images.pt and labels.pt), trains fresh networks on it
with per-image DSA augmentation and reports test accuracy, mean and population deviation over networks. Shares no code
with attar: network, augmentation and protocol are written from the published description, so that agreement with
`attar eval` means something.

Protocol "dsa" (also "dm"): E+1 epochs of SGD, lr 0.01, momentum 0.9, weight decay 5e-4, batch 256, one DSA strategy a
batch with parameters per image; after epoch E/2+1 the rate drops tenfold and momentum restarts. Protocol "dc": the
same without augmentation, or with DC's own: one strategy per image of --aug crop_scale_rotate (MNIST) or crop_noise
(networks with batch norm; this one has none). Rotation needs scipy. --epochs is E in either.

    tests/parity/eval_parity.py --npz set.npz --test /usr/share/datasets/fashion-mnist --epochs 1000 --nets 5
"""
import argparse
import gzip
import math
import os
import struct
import sys
import time

# glibc hands every large tensor back to the kernel and pays for touching it again: about seven times slower. These
# are read at process start, hence the second start.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "17179869184",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
if any(os.environ.get(k) != v for k, v in MALLOC.items()):
    env = {**os.environ, **MALLOC}
    env.pop("OPENBLAS_CORETYPE", None)
    os.execve(sys.executable, [sys.executable, *sys.argv], env)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

PUBLISHED = {  # mean, deviation of [0,1] pixels
    "fashion-mnist": ([0.2861], [0.3530]),
    "mnist": ([0.1307], [0.3081]),
}


def read_idx(folder, stem):
    """An IDX file, plain or gzipped, as an array."""
    for name, opener in ((stem, open), (stem + ".gz", gzip.open)):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with opener(path, "rb") as f:
                data = f.read()
            rank = data[3]
            dims = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
            return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(dims)
    raise SystemExit(f"{folder}: neither {stem} nor {stem}.gz is there")


def load_set(args):
    """images [M,C,H,W] in normalised space, target [M,K] probabilities, and mean, std where the file has them."""
    if args.npz:
        z = np.load(args.npz)
        images, labels = torch.from_numpy(z["images"]).float(), torch.from_numpy(z["labels"]).long()
        norm = (z["mean"].ravel(), z["std"].ravel()) if "mean" in z.files else None
        soft = torch.from_numpy(z["soft_labels"]).float() if "soft_labels" in z.files else None
    else:
        images = torch.load(os.path.join(args.pt, "images.pt")).float()
        labels = torch.load(os.path.join(args.pt, "labels.pt")).long()
        norm = soft = None
    if images.dim() != 4 or labels.shape != images.shape[:1] or not torch.isfinite(images).all():
        raise SystemExit(f"not a set: images {tuple(images.shape)}, labels {tuple(labels.shape)}, or pixels not finite")
    return images, labels, soft, norm


def load_test(folder, norm, limit):
    x, y = read_idx(folder, "t10k-images-idx3-ubyte"), read_idx(folder, "t10k-labels-idx1-ubyte")
    if norm is None:
        name = os.path.basename(os.path.normpath(folder))
        if name not in PUBLISHED:
            raise SystemExit(f"{name}: no mean and std known; use --npz, which carries them")
        norm = PUBLISHED[name]
    mean, std = (torch.tensor(np.asarray(v, np.float32)).view(1, -1, 1, 1) for v in norm)
    x = torch.from_numpy(x[:limit].copy()).float().div(255).unsqueeze(1)
    return (x - mean) / std, torch.from_numpy(y[:limit].astype(np.int64))


def convnet(channels, size, classes, width, depth=3):
    """depth x [conv3 - instance norm - ReLU - average pool 2]; 28 x 28 becomes 32 x 32 by padding the first conv."""
    layers, c = [], channels
    for i in range(depth):
        pad = 3 if i == 0 and channels == 1 else 1
        size = (size + 2 * pad - 2) // 2
        layers += [nn.Conv2d(c, width, 3, padding=pad), nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]
        c = width
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * size * size, classes))
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(m.weight[0].numel())
            nn.init.uniform_(m.weight, -bound, bound)
            nn.init.uniform_(m.bias, -bound, bound)
    return net


# Differentiable siamese augmentation, parameters per image.


def rand(x, lo=0.0, hi=1.0):
    return torch.empty(len(x), 1, 1, 1).uniform_(lo, hi)


def color(x):
    x = x + (rand(x) - 0.5)
    m = x.mean(1, keepdim=True)
    x = (x - m) * (2 * rand(x)) + m if x.shape[1] > 1 else x
    m = x.mean((1, 2, 3), keepdim=True)
    return (x - m) * (rand(x) + 0.5) + m


def pixels(x):
    """Row and column numbers, broadcastable to [N,H,W]."""
    return torch.arange(x.shape[2]).view(1, -1, 1), torch.arange(x.shape[3]).view(1, 1, -1)


def whole(x, lo, hi):
    return torch.randint(lo, hi + 1, (len(x), 1, 1))


def crop(x):
    h, w = x.shape[2:]
    qh, qw = int(h * 0.125 + 0.5), int(w * 0.125 + 0.5)
    padded = F.pad(x, (qw, qw, qh, qh))
    row, col = pixels(x)
    row, col = row + whole(x, 0, 2 * qh), col + whole(x, 0, 2 * qw)
    n = torch.arange(len(x)).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[n, row, col].permute(0, 3, 1, 2)


def cutout(x):
    h, w = x.shape[2:]
    sh, sw = int(h * 0.5 + 0.5), int(w * 0.5 + 0.5)
    row, col = pixels(x)
    oh, ow = whole(x, 0, h - sh % 2), whole(x, 0, w - sw % 2)
    top, left = oh - sh // 2, ow - sw // 2
    hole = (row >= top) & (row < top + sh) & (col >= left) & (col < left + sw)
    return x * (~hole).unsqueeze(1)


def flip(x):
    return torch.where(rand(x) < 0.5, x.flip(3), x)


def resample(x, theta):
    grid = F.affine_grid(theta, list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


def scale(x):
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0].uniform_(1 / 1.2, 1.2)
    theta[:, 1, 1].uniform_(1 / 1.2, 1.2)
    return resample(x, theta)


def rotate(x):
    t = torch.empty(len(x)).uniform_(-15, 15) * (math.pi / 180)
    zero = torch.zeros_like(t)
    rows = [torch.stack([t.cos(), -t.sin(), zero], 1), torch.stack([t.sin(), t.cos(), zero], 1)]
    return resample(x, torch.stack(rows, 1))


STRATEGY = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}


# DC's own augmentation: one strategy per image x [C,H,W], fill [C] the batch's channel means.


def dc_crop(x, fill):
    c, h, w = x.shape
    padded = fill.view(c, 1, 1).repeat(1, h + 8, w + 8)
    padded[:, 4 : 4 + h, 4 : 4 + w] = x
    i, j = torch.randint(8, (2,)).tolist()
    return padded[:, i : i + h, j : j + w]


def dc_scale(x, _):
    c, h, w = x.shape
    to = [int(h * v) for v in torch.empty(2).uniform_(0.8, 1.2).tolist()]
    side = max(h, w, *to)
    canvas = torch.zeros(c, side, side)
    top, left = (side - to[0]) // 2, (side - to[1]) // 2
    canvas[:, top : top + to[0], left : left + to[1]] = F.interpolate(x[None], to)[0]
    top, left = (side - h) // 2, (side - w) // 2
    return canvas[:, top : top + h, left : left + w]


def dc_rotate(x, fill):
    from scipy import ndimage

    h, w = x.shape[1:]
    degrees = torch.randint(-45, 45, ()).item()
    big = np.stack([ndimage.rotate(a, degrees, cval=v) for a, v in zip(x.numpy(), fill.tolist())])
    top, left = (big.shape[1] - h) // 2, (big.shape[2] - w) // 2
    return torch.from_numpy(big[:, top : top + h, left : left + w])


def dc_noise(x, _):
    return x + 0.001 * torch.randn_like(x)


DC_STRATEGY = {"crop": dc_crop, "scale": dc_scale, "rotate": dc_rotate, "noise": dc_noise}


def dc_augment(x, strategies):
    if not strategies:
        return x
    fill = x.mean((0, 2, 3))
    return torch.stack([DC_STRATEGY[strategies[torch.randint(len(strategies), ()).item()]](a, fill) for a in x])


def augment(x, strategies):
    if not strategies:
        return x
    return STRATEGY[strategies[torch.randint(len(strategies), ()).item()]](x)


def optimiser(net, lr):
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)


def cross_entropy(z, y):
    return -(y * F.log_softmax(z, 1)).sum(1).mean()


def train(net, x, y, args, strategies):
    change = dc_augment if args.protocol == "dc" else augment
    lr, opt = args.lr, optimiser(net, args.lr)
    for epoch in range(args.epochs + 1):
        for batch in torch.randperm(len(x)).split(min(args.batch, len(x))):
            loss = cross_entropy(net(change(x[batch], strategies)), y[batch])
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch == args.epochs // 2 + 1:
            lr *= 0.1
            opt = optimiser(net, lr)


@torch.no_grad()
def accuracy(net, x, y):
    right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(500), y.split(500)))
    return right / len(y)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--npz", help="file that `attar export --format npz` wrote")
    where.add_argument("--pt", help="folder that `attar export --format pt` wrote")
    p.add_argument("--test", default="/usr/share/datasets/fashion-mnist", help="folder with the IDX test files")
    p.add_argument("--test-items", type=int, default=None, help="only the first so many test images")
    p.add_argument("--protocol", choices=("dsa", "dm", "dc"), default="dsa")
    p.add_argument("--aug", default=None, help="DSA list, unless given all (drop flip for digits); dc: its own, none")
    p.add_argument("--epochs", type=int, default=1000)
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--nets", type=int, default=5)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()

    torch.set_num_threads(args.threads)
    images, labels, soft, norm = load_set(args)
    tx, ty = load_test(args.test, norm, args.test_items)
    classes = int(max(labels.max(), ty.max())) + 1
    target = soft if soft is not None else F.one_hot(labels, classes).float()
    known = DC_STRATEGY if args.protocol == "dc" else STRATEGY
    aug = args.aug or ("none" if args.protocol == "dc" else "color_crop_cutout_flip_scale_rotate")
    strategies = [] if aug == "none" else aug.split("_")
    if set(strategies) - set(known) or images.shape[1:] != tx.shape[1:]:
        raise SystemExit(f"bad --aug {aug}, or set {tuple(images.shape)} does not fit test {tuple(tx.shape)}")
    results = []
    for k in range(args.nets):
        torch.manual_seed(args.seed + k)
        start = time.perf_counter()
        net = convnet(images.shape[1], images.shape[2], target.shape[1], args.width)
        train(net, images, target, args, strategies)
        results.append(accuracy(net, tx, ty))
        print(f"net {k}: accuracy {results[-1]:.4f}, {time.perf_counter() - start:.1f} s", flush=True)
    print(f"accuracy mean {np.mean(results):.4f} std {np.std(results):.4f} over {args.nets} nets, "
          f"{len(images)} images, {args.epochs} epochs, width {args.width}")


if __name__ == "__main__":
    main()
