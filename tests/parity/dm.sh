#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dm.sh DM_DUMP [DATA]: dumps and compares; 77 means skipped.
set -eu
python=/usr/bin/python3
[ -x "$python" ] || python=python3
command -v "$python" >/dev/null || { echo "skipped: no python3"; exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$1" "$out" "${2:-digits}"
"$python" "$(dirname "$0")/dm_parity.py" "$out"
