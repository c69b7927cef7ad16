#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dc_aug.sh DC_AUG_DUMP: dumps and compares; 77 means skipped.
set -eu
python=/usr/bin/python3
[ -x "$python" ] || python=python3
command -v "$python" >/dev/null || { echo "skipped: no python3"; exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$1" "$out"
"$python" "$(dirname "$0")/dc_aug_parity.py" "$out"
