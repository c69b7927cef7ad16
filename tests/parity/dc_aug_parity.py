#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the changes that dc_aug_dump wrote once more, with numpy and scipy.ndimage: the DC protocol's augmentation.

Shares no code with attar: file format and augmentation are written from their descriptions. Rotation is
scipy.ndimage.rotate with reshape, cut back to its centre. Prints the largest absolute difference of each case and
strategy and exits 1 if one exceeds 1e-4, 77 without scipy.

    tests/parity/dc_aug_parity.py FILE.safetensors
"""
import sys

try:
    import numpy as np
    from scipy import ndimage
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

from cases import read_cases

LIMIT = 1e-4
STRATEGY = {1: "crop", 2: "scale", 4: "rotate"}


def crop(x, mean, y, z):
    c, h, w = x.shape
    padded = np.empty((c, h + 8, w + 8), x.dtype)
    padded[:] = mean[:, None, None]
    padded[:, 4 : 4 + h, 4 : 4 + w] = x
    return padded[:, y : y + h, z : z + w]


def nearest(size, to):
    """Source indices of a resize from size to `to`."""
    return np.arange(to) * size // to


def scale(x, height, width):
    """Resize, put in the middle of a square canvas of zeros, cut the middle out."""
    c, h, w = x.shape
    small = x[:, nearest(h, height)][:, :, nearest(w, width)]
    side = max(h, w, height, width)
    canvas = np.zeros((c, side, side), x.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[:, top : top + height, left : left + width] = small
    top, left = (side - h) // 2, (side - w) // 2
    return canvas[:, top : top + h, left : left + w]


def rotate(x, mean, degrees):
    out = []
    for plane, fill in zip(x.astype(np.float64), mean):
        h, w = plane.shape
        big = ndimage.rotate(plane, degrees, order=3, mode="constant", cval=fill)  # reshape and prefilter: its defaults
        top, left = (big.shape[0] - h) // 2, (big.shape[1] - w) // 2
        assert top >= 0 and left >= 0, "the output is smaller than the image"
        out.append(big[top : top + h, left : left + w])
    return np.array(out)


def check_draw(name, draw, h):
    """The parameters themselves; says whether the description allows them."""
    _, y, x, degrees = draw
    if name == "crop":
        return 0 <= y <= 7 and 0 <= x <= 7
    if name == "scale":
        return all(int(0.8 * h) <= v <= 1.2 * h for v in (y, x))
    return -45 <= degrees <= 44


def change(name, x, mean, draw):
    _, y, z, degrees = (int(v) for v in draw)
    if name == "crop":
        return crop(x, mean, y, z)
    return scale(x, y, z) if name == "scale" else rotate(x, mean, degrees)


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: dc_aug_parity.py FILE.safetensors")
    worst, bad, total = 0.0, False, 0
    print("case     strategy  images  largest difference")
    for case, t in read_cases(sys.argv[1]).items():
        mean = t["before"].mean((0, 2, 3), dtype=np.float64)
        errors = {}
        for x, got, draw in zip(t["before"], t["after"], t["draws"]):
            name = STRATEGY[int(draw[0])]
            errors.setdefault(name, []).append(np.abs(change(name, x, mean, draw) - got).max())
            if not check_draw(name, draw, x.shape[1]):
                print(f"{case}: a draw outside the description: {draw}")
                bad = True
        for name, e in sorted(errors.items()):
            print(f"{case:<8} {name:<8}  {len(e):>6}  {max(e):.2e}")
            bad = bad or not all(v <= LIMIT for v in e)  # a NaN is bad, too
            worst, total = max(worst, *e), total + len(e)
        if case == "angles":
            seen = len(set(t["draws"][:, 3]))
            print(f"angles seen: {seen} of 90")
            bad = bad or seen < 90
    print(f"worst {worst:.2e}, allowed {LIMIT:.0e}, {total} images")
    sys.exit(1 if bad or worst == 0 else 0)


main()
