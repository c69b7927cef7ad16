#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whitens the images that whiten_dump wrote once more, with numpy in double: the variants of MTT, KIP and FRePo.

Shares no code with attar: written from the papers' procedures, with a singular value decomposition in place of
eigenvectors. Prints the largest absolute difference of each case and exits 1 if one exceeds 1e-5 of the largest value,
77 without numpy.

    tests/parity/whiten_parity.py FILE.safetensors
"""
import sys

try:
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

from cases import read_cases

LIMIT = 1e-5


def channels(x, decimals=None):
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    if decimals:
        mean, std = mean.round(decimals), std.round(decimals)
    return (x - mean[:, None, None]) / std[:, None, None]


def transform(cov, reg, n=None):
    """W and its inverse; with n images, directions beyond the n largest keep scale 1."""
    u, s, _ = np.linalg.svd(cov + reg * np.eye(len(cov)))
    if n is not None:
        s[n:] = 1
    return (u / np.sqrt(s)) @ u.T, (u * np.sqrt(s)) @ u.T


def mtt(x):
    x = x.reshape(len(x), -1)
    mu = x.mean(0)
    w, inverse = transform((x - mu).T @ (x - mu) / (len(x) - 1), 0.1)
    white = (x - mu) @ w
    return white, white @ inverse + mu


def kip(x):
    x = channels(x).reshape(len(x), -1)
    x = x - x.mean(1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / length
    cov = x.T @ x / len(x)
    w, inverse = transform(cov, 0.1 * np.trace(cov) / len(cov), len(x))
    return x @ w, x @ w @ inverse * length.mean()


def frepo(x):
    x = channels(x, 4).reshape(len(x), -1)
    mu = x.mean(0)
    cov = (x - mu).T @ (x - mu) / len(x)
    w, inverse = transform(cov, 0.1 * np.trace(cov) / len(cov), len(x))
    white = (x - mu) @ w
    return white, white @ inverse + mu


def rfad(x):
    x = channels(x).reshape(len(x), -1)
    cov = x.T @ x / len(x)
    w, inverse = transform(cov, 0.1 * np.trace(cov) / len(cov), len(x))
    return x @ w, x @ w @ inverse


def main():
    bad = 0
    for name, case in read_cases(sys.argv[1]).items():
        pixels = case["pixels"].astype(np.float64)
        want = {"mtt": mtt, "kip": kip, "frepo": frepo, "rfad": rfad}[name.split("-")[0]](pixels)
        for part, y in zip(("white", "back"), want):
            worst, size = np.abs(case[part].reshape(y.shape) - y).max(), np.abs(y).max()
            verdict = "ok" if worst <= LIMIT * size else "DIFFERS"
            bad += verdict != "ok"
            print(f"{name:10} {part:6} {worst:.2e} of {size:8.4f}  {verdict}")
    sys.exit(bad > 0)


main()
