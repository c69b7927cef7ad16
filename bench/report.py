# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this folder share: where the project is, what the machine is, files written whole."""
import os
import platform

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cpu():
    """Name of the processor and number of cores that the system shows."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def write_whole(path, text):
    """All of it or nothing: a reader never sees half."""
    temporary = path + ".tmp"
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(temporary, path)
