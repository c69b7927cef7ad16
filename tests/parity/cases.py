# SPDX-License-Identifier: Apache-2.0
"""Reads what the dumps of this folder wrote, from the description of the format."""
import json
import struct

import numpy as np


def read_cases(path):
    """{case: {part: float32 array}} of entries named case/part."""
    with open(path, "rb") as f:
        data = f.read()
    (length,) = struct.unpack_from("<Q", data)
    cases = {}
    for name, e in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        assert e["dtype"] == "F32", name
        first, end = e["data_offsets"]
        values = np.frombuffer(data[8 + length + first : 8 + length + end], "<f4").reshape(e["shape"])
        case, part = name.split("/")
        cases.setdefault(case, {})[part] = values
    return cases
