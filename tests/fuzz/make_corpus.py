#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpora of the fuzz targets next to this file: one small valid input of each kind and a few damaged
ones. Needs numpy. The seeds are kept in the tree; run this again only after adding to it. Inputs that once
broke a reader are kept beside them as corpus/NAME/found-*."""
import base64
import gzip
import hashlib
import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(kind, name, data):
    os.makedirs(os.path.join(HERE, kind), exist_ok=True)
    with open(os.path.join(HERE, kind, name), "wb") as f:
        f.write(data)


def idx():
    images = struct.pack(">IIII", 0x803, 2, 3, 2) + bytes(range(12))
    colour = struct.pack(">IIIII", 0x804, 1, 3, 2, 2) + bytes(range(12))
    labels = struct.pack(">II", 0x801, 5) + bytes([0, 1, 2, 3, 9])
    for name, data in [("images", images), ("colour", colour), ("labels", labels)]:
        put("idx", name, data)
        put("idx", name + ".gz", gzip.compress(data, mtime=0))
    put("idx", "truncated", images[:-3])
    put("idx", "truncated.gz", gzip.compress(images, mtime=0)[:-9])
    put("idx", "two-members.gz", gzip.compress(labels[:8], mtime=0) + gzip.compress(labels[8:], mtime=0))
    put("idx", "bomb.gz", gzip.compress(bytes(3 << 20), mtime=0))
    put("idx", "huge", struct.pack(">IIII", 0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
    put("idx", "empty", b"")


def cifar():
    record = bytes([3]) + bytes(i % 251 for i in range(3072))
    put("cifar", "one", record)
    put("cifar", "three", record * 3)
    put("cifar", "too-many", record * 4)
    put("cifar", "label", bytes([10]) + record[1:])
    put("cifar", "short", record[:-1])


def npz():
    def archive(compress=False, **arrays):
        f = io.BytesIO()
        (np.savez_compressed if compress else np.savez)(f, **arrays)
        return f.getvalue()

    x, y = np.arange(40, dtype=np.uint8).reshape(10, 2, 2), np.arange(10) % 2
    f = (np.arange(120) / 120).astype(np.float32).reshape(10, 2, 2, 3)
    put("npz", "images", archive(images=x, labels=y))
    put("npz", "packed", archive(True, x_train=f, y_train=y, x_test=f, y_test=y))
    put("npz", "column", archive(train_images=x, train_labels=y[:, None].astype(np.uint8)))
    put("npz", "double", archive(X=f.astype(np.float64), y=y.astype(np.int32)))
    put("npz", "nan", archive(X=np.full((3, 2, 2), np.nan), y=y[:3]))
    put("npz", "fortran", archive(X=np.asfortranarray(f), y=y))
    put("npz", "truncated", archive(images=x, labels=y)[:-30])
    g = io.BytesIO()
    with zipfile.ZipFile(g, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("images.npy", bytes(2 << 20))
    put("npz", "bomb", g.getvalue())
    for name, a in [("bare.npy", f[:2]), ("labels.npy", y)]:
        g = io.BytesIO()
        np.save(g, a)
        put("npz", name, g.getvalue())


def png_file(pixels, kind, depth=8, palette=b"", interlace=0):
    """pixels: rows of bytes, unfiltered; kind: PNG's colour type."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows, width = [bytes(r) for r in pixels], len(pixels[0]) * 8 // depth // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    head = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + r for r in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + (chunk(b"PLTE", palette) if palette else b"")
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def png():
    x = (np.arange(8 * 24) * 7 % 251).astype(np.uint8).reshape(8, 24)
    for name, data in [
        ("grey", png_file(x[:, :6], 0)),
        ("rgb", png_file(x[:, :18], 2)),
        ("alpha", png_file(x[:, :24], 6)),
        ("grey-alpha", png_file(x[:, :12], 4)),
        ("palette", png_file(x[:, :6] % 4, 3, palette=bytes(range(12)))),
        ("bits", png_file(x[:, :2], 0, depth=1)),
        ("deep", png_file(x[:, :12], 0, depth=16)),
    ]:
        put("png", name, data)
        put("png", name + "-cut", data[:-25])


# 6 x 8 pixels, quality 60, written with libjpeg
JPEGS = {
    "rgb": """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV
pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAI
AAYDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAP/xAAdEAABBQADAQAAAAAAAAAAAAABAAIDBAURElFx/8QAFQEBAQAAAAAAAAAAAA
AAAAAAAQT/xAAYEQEAAwEAAAAAAAAAAAAAAAABAAIDBP/aAAwDAQACEQMRAD8Atl4lPPoiW/NDWjceodK8NBPnJ+FERQ79d89GoESok//Z
""",
    "grey": """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV
pQYEpRUk//wAALCAAIAAYBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABf/EABkQAAEFAAAAAAAAAAAAAAAAAAAEBiIzof/aAAgBAQAAPwA9I1YV
4f/Z
""",
    "progressive": """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV
pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wgARCAAI
AAYDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/xAAVAQEBAAAAAAAAAAAAAAAAAAAAA//aAAwDAQACEAMQAAABsQf/xAAVEAEBAA
AAAAAAAAAAAAAAAAADAv/aAAgBAQABBQIhg4//xAAVEQEBAAAAAAAAAAAAAAAAAAAAEf/aAAgBAwEBPwGP/8QAGBEAAgMAAAAAAAAAAAAAAAAA
AAIBAxH/2gAIAQIBAT8Be2VbD//EABgQAAIDAAAAAAAAAAAAAAAAAAECABFh/9oACAEBAAY/ArchRs//xAAXEAEAAwAAAAAAAAAAAAAAAAARAA
Eh/9oACAEBAAE/IVLmNif/2gAMAwEAAgADAAAAEAf/xAAVEQEBAAAAAAAAAAAAAAAAAAABAP/aAAgBAwEBPxACX//EABURAQEAAAAAAAAAAAAA
AAAAAAEA/9oACAECAQE/EHgC/8QAGBABAQADAAAAAAAAAAAAAAAAAREAUXH/2gAIAQEAAT8QEOSBhdV45//Z
""",
    "cmyk": """
/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZMTlJTUjI+WmFaUG
BKUVJP/8AAFAgACAAGBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAMCBP/EACQQAAIBAwMEAwEAAAAAAAAAAAECAwQFEQYhMQBB
UmESIlFx/9oADgRDAE0AWQBLAAA/AHtdFa7Fb45LrOtOsv1QfEsWI5wFBOPfG4/eqgW3aZt8D3CGd2qMiNIUBJAxk7kDAyO+d/70lO9q01SRLX
LLJNKMrDCoZwvkckADO3vtwcaKd7VpqkiWuWWSaUZWGFQzhfI5IAGdvfbg4//Z
""",
}


def jpeg():
    for name, text in JPEGS.items():
        data = base64.b64decode(text)
        put("jpeg", name, data)
        put("jpeg", name + "-cut", data[:-12])


def file(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


def safetensors():
    a = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    b = {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}
    put("safetensors", "two", file({"__metadata__": {"k": "v"}, "a": a, "b": b}, 16))
    put("safetensors", "gap", file({"b": b}, 16))
    put("safetensors", "overlap", file({"a": a, "b": dict(b, data_offsets=[4, 12])}, 12))
    put("safetensors", "twice", file(b'{"a":1,"a":2}', 0))
    put("safetensors", "short", file({"a": a}, 3))
    put("safetensors", "none", file({}, 0))
    put("safetensors", "huge", b"\xff" * 16)


def setjson():
    good = {"sha256": hashlib.sha256(b"").hexdigest(), "shape": [2, 1, 3, 3], "class_names": ["a", 'q"\\\n'], "mean": [0.1], "std": [0.2]}
    put("setjson", "good", json.dumps(good).encode())
    put("setjson", "pretty", json.dumps(dict(good, options={"lr": 0.1, "sha256": "x"}), indent=2).encode() + b"\n")
    for key in good:
        put("setjson", "no-" + key, json.dumps({k: v for k, v in good.items() if k != key}).encode())
    zca = {"variant": "zca-mtt", "sha256": good["sha256"]}
    put("setjson", "whitened", json.dumps(dict(good, whitening=zca)).encode())
    put("setjson", "whitened-else", json.dumps(dict(good, whitening=dict(zca, variant="x"))).encode())
    put("setjson", "whitened-not", json.dumps(dict(good, data={"normalisation": "zca-mtt"})).encode())
    put("setjson", "twice", b'{"a": 1, "a": 2}')
    put("setjson", "deep", b'{"a":' + b"[" * 3000)


def whitening():
    def bytes_of(parts):
        header, body = {}, b""
        for name, values in parts.items():
            kind = "F32" if name == "eigenvectors" else "F64"
            header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(body), len(body) + values.nbytes]}
            body += values.tobytes()
        return file(header, body)

    one = np.ones(1)
    good = {"mean": np.zeros(2), "eigenvalues": np.arange(2.0), "eps": 0.1 * one, "length": one, "eigenvectors": np.eye(2, dtype="f4")}
    put("whitening", "good", bytes_of(good))
    put("whitening", "negative", bytes_of(dict(good, eigenvalues=-np.arange(2.0))))
    put("whitening", "nan", bytes_of(dict(good, mean=np.nan * np.ones(2))))
    put("whitening", "eps", bytes_of(dict(good, eps=0 * one)))
    put("whitening", "size", bytes_of(dict(good, mean=np.zeros(3))))
    for key in good:
        put("whitening", "no-" + key, bytes_of({k: v for k, v in good.items() if k != key}))


for make in (idx, cifar, npz, png, jpeg, safetensors, setjson, whitening):
    make()
