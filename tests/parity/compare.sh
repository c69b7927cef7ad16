#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compare.sh DUMP SCRIPT: DUMP writes a file, SCRIPT computes it once more; 77 means skipped.
set -eu
dump=$1
script=$2
shift 2
python=/usr/bin/python3
[ -x "$python" ] || python=python3
command -v "$python" >/dev/null || { echo "skipped: no python3"; exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$dump" "$out" "$@"
"$python" "$(dirname "$0")/$script" "$out"
