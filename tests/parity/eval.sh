#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eval.sh ATTAR: a distilled set, exported as npz and pt, trained on by PyTorch networks of the same protocol, which must
# land within 1.5 points of attar's own evaluation. 77 means skipped.
set -eu
attar=$1
here=$(dirname "$0")
data=/usr/share/datasets/fashion-mnist
python=/usr/bin/python3
[ -x "$python" ] || python=python3
"$python" -c 'import torch' 2>/dev/null || { echo "skipped: no PyTorch"; exit 77; }
[ -d "$data" ] || { echo "skipped: $data is not there (package dataset-fashion-mnist)"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export OMP_WAIT_POLICY=passive

"$attar" distill --method dm --data fashion-mnist --ipc 1 --iterations 10 --net convnet:depth=3,width=32 --seed 3 \
    --eval-repeats 8 --eval-epochs 300 --no-baselines --quiet --out "$out/set"
"$attar" export "$out/set" --to npz --out "$out/set.npz"
"$attar" export "$out/set" --to pt --out "$out/pt"
ours=$("$python" -c 'import json, sys; print(100 * json.load(open(sys.argv[1]))["result"]["mean"])' "$out/set/set.json")
bad=0
for from in "--npz $out/set.npz" "--pt $out/pt"; do
    # shellcheck disable=SC2086
    theirs=$("$python" "$here/eval_parity.py" $from --test "$data" --epochs 300 --nets 8 --width 32 |
        sed -n 's/^accuracy mean \([0-9.]*\).*/\1/p')
    "$python" -c '
import sys
ours, theirs = float(sys.argv[1]), 100 * float(sys.argv[2])
print(f"{sys.argv[3]}: attar {ours:.2f}, PyTorch {theirs:.2f} %, allowed difference 1.5 points")
sys.exit(abs(ours - theirs) > 1.5)' "$ours" "$theirs" "${from%% *}" || bad=1
done
exit $bad
