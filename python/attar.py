# SPDX-License-Identifier: Apache-2.0
"""Reads a distilled set with numpy alone.

    from attar import load
    d = load("out")
    x, y = d.pixels, d.labels

`load` takes a folder with set.safetensors and set.json, or a file exported as .npz. It checks what it reads and
raises ValueError with the numbers when something does not agree.
"""
import hashlib
import json
import os
import zipfile

import numpy

__all__ = ["Set", "load", "read_safetensors"]

_TYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
_HEADER_LIMIT = 100 << 20


def _unique(pairs):
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key occurs twice")
    return out


def _json(path, text):
    """A JSON object; what is wrong with it names the file."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a JSON object is expected, not {type(value).__name__}")
    return value


def read_safetensors(path):
    """The tensors of a safetensors file as a dict of numpy arrays."""
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < 8:
        raise ValueError(f"{path}: {len(data)} bytes are too short for a safetensors file")
    head = int.from_bytes(data[:8], "little")
    if head > min(_HEADER_LIMIT, len(data) - 8):
        raise ValueError(f"{path}: the header claims {head} bytes, {len(data) - 8} are left")
    header = _json(path, data[8 : 8 + head])
    header.pop("__metadata__", None)
    body, out, at = memoryview(data)[8 + head :], {}, 0
    try:
        entries = sorted((*e["data_offsets"], name, _TYPES[e["dtype"]], tuple(e["shape"])) for name, e in header.items())
    except (KeyError, TypeError) as e:
        raise ValueError(f"{path}: a tensor without a known type, a shape or a place in the header: {e}") from None
    for first, last, name, kind, shape in entries:
        dtype = numpy.dtype(kind)
        need = dtype.itemsize * int(numpy.prod(shape, dtype=numpy.int64))
        if first != at or last - first != need or last > len(body):
            raise ValueError(f"{path}: tensor {name} lies at {first}..{last} of {len(body)}, its shape needs {need} from {at}")
        out[name] = numpy.frombuffer(body[first:last], dtype).reshape(shape).copy()
        at = last
    if at != len(body):
        raise ValueError(f"{path}: {len(body) - at} bytes follow the last tensor")
    return out


class Set:
    """A distilled set.

    images       float32 [M,C,H,W], normalised: (pixel - mean) / std; what a network is trained on
    labels       int64 [M]
    soft_labels  float32 [M,classes] or None: probabilities
    targets      float32 [M,classes] or None: what a squared loss is to be fitted to, about one-hot less 1/classes; no
                 labels for cross-entropy, which takes `labels`
    lr           float32 [k] or None: learning rates found with the images
    theta        float32 [P] or None: the one network that the set is for, all parameters in a vector
    whitening    dict of arrays mean, eigenvalues, eps, length, eigenvectors, or None: images are whitened by them
    mean, std    float64 [C]
    class_names  list of names, or None for an .npz file
    info         set.json as a dict; {} for an .npz file
    """

    def __init__(self, arrays, info, whitening=None):
        missing = [k for k in ("images", "labels", "mean", "std") if k not in arrays]
        if missing:
            raise ValueError(f"there is no {' and no '.join(missing)} among {sorted(arrays)}")
        self.images, self.labels = arrays["images"], arrays["labels"]
        self.soft_labels, self.lr = arrays.get("soft_labels"), arrays.get("lr")
        self.targets = arrays.get("targets")
        self.theta, self.whitening = arrays.get("theta"), whitening
        self._whitened = whitening is not None or "zca_w" in arrays
        self.mean, self.std = arrays["mean"], arrays["std"]
        self.class_names, self.info = info.get("class_names"), info
        self._check()

    def _check(self):
        m, c = self.images.shape[:2] if self.images.ndim == 4 else (0, 0)
        if not m:
            raise ValueError(f"images have shape {self.images.shape}, expected [M,C,H,W]")
        if self.labels.shape != (m,):
            raise ValueError(f"{m} images have labels of shape {self.labels.shape}")
        if self.labels.dtype.kind not in "iu" or self.labels.min() < 0:
            raise ValueError(f"labels are not class numbers: {self.labels.dtype} from {self.labels.min()} to {self.labels.max()}")
        self._check_classes(int(self.labels.max()) + 1)
        if self.mean.shape != (c,) or self.std.shape != (c,) or not (self.std > 0).all():
            raise ValueError(f"{c} channels have mean {self.mean.tolist()} and std {self.std.tolist()}")
        for key in ("mean", "std"):
            if len(self.info.get(key, self.mean)) != c:
                raise ValueError(f"set.json gives {key} {self.info[key]} for {c} channels")
        if self.info and list(self.info.get("shape", [])) != list(self.images.shape):
            raise ValueError(f"set.json says shape {self.info.get('shape')}, the images have {list(self.images.shape)}")

    def _check_classes(self, seen):
        names, m = self.class_names, len(self.labels)
        if names is not None and len(names) < seen:
            raise ValueError(f"label {seen - 1} in a set of {len(names)} classes")
        for what, soft in (("soft labels", self.soft_labels), ("targets", self.targets)):
            if soft is not None and (soft.ndim != 2 or soft.shape[0] != m or soft.shape[1] < seen):
                raise ValueError(f"{m} images of at least {seen} classes have {what} of shape {soft.shape}")

    def _unwhitened(self):
        if not self._whitened:
            return self.images
        if self.whitening is None:
            raise ValueError("an .npz file of a whitened set does not hold the way back; load its folder")
        w, m = self.whitening, len(self.images)
        root = numpy.sqrt(w["eigenvalues"] + w["eps"])
        v = w["eigenvectors"].astype(numpy.float64)
        x = (self.images.reshape(m, -1) @ v.T * root) @ v + w["mean"]
        return (x * (w["length"] if w["length"] > 0 else 1)).reshape(self.images.shape)

    @property
    def pixels(self):
        """The images in natural colours: float32 [M,C,H,W] on 0..1, clipped."""
        x = self._unwhitened() * self.std[:, None, None] + self.mean[:, None, None]
        return numpy.clip(x, 0, 1).astype(numpy.float32)

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        return f"<attar set of {len(self)} images {self.images.shape[1:]}>"


def _vouch(path, recorded):
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    if digest != recorded:
        raise ValueError(f"{path} has SHA-256 {digest}, set.json records {recorded}")


def load(path):
    """A Set from a folder or an .npz file."""
    if os.path.isfile(path):
        try:
            with numpy.load(path, allow_pickle=False) as z:
                arrays = {k: z[k] for k in z.files}
        except (ValueError, TypeError, zipfile.BadZipFile) as e:  # TypeError: a single array, .npy
            raise ValueError(f"{path}: no readable .npz file: {e}") from None
        return Set(arrays, {})
    tensors = os.path.join(path, "set.safetensors")
    recipe = os.path.join(path, "set.json")
    with open(recipe, "rb") as f:
        info = _json(recipe, f.read())
    if info.get("format", "attar-set-1") != "attar-set-1":
        raise ValueError(f"{path}: format {info['format']!r}, this reader knows 'attar-set-1'")
    _vouch(tensors, info.get("sha256"))
    if "whitening" not in info:
        return Set(read_safetensors(tensors), info)
    transform = os.path.join(path, "whitening.safetensors")
    _vouch(transform, info["whitening"].get("sha256"))
    return Set(read_safetensors(tensors), info, read_safetensors(transform))
