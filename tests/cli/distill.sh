#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One set from beginning to end: distil, look at it, evaluate, export, change it by hand.
. "$(dirname "$0")/lib.sh"

tiny="--data digits --ipc 1 --iterations 5 --net convnet:depth=1,width=8 --eval-repeats 1 --eval-epochs 2 --seed 3 --threads 1"
works 'images per class' distill $tiny --out run --quiet
grep -q 'random real' out || fail 'no baseline in the table'
for f in set.safetensors set.json grid.png run.json metrics.jsonl; do [ -s run/$f ] || fail "no $f"; done
works 10 info run
works sha256 info run --json
works measured eval run --repeats 1
works measured eval run --repeats 1 --epochs 1 --baselines --json
works written export run --to npz --out a.npz
works written export run --to png --out pictures
works written export run --to pt --out torch
for f in a.npz pictures torch/images.pt torch/labels.pt; do [ -e $f ] || fail "no $f"; done
works '"distilled"' distill $tiny --out run-json --quiet --json
cmp run/set.safetensors run-json/set.safetensors || fail 'the same seed gives other bytes'
works 'test accuracy' train --data digits --epochs 2 --net convnet:depth=1,width=8 --threads 1
works '"test_accuracy"' train --data digits --epochs 1 --net mlp --json

# whitened: the transform travels with the set, or nothing is evaluated
works 'images per class' distill $tiny --normalise zca-mtt --out white --quiet
grep -q '"normalisation": "zca-mtt"' white/set.json || fail 'set.json does not name the whitening'
works 'whitening      zca-mtt' info white
works measured eval white --repeats 1 --baselines
works written export white --to pt --out white-torch
[ -s white-torch/zca_w.pt ] || fail 'the export lost the whitening'
expect 7 'zca-kip of variance' distill $tiny --normalise zca-kip --out white --resume --quiet
expect 2 'zca-frepo' distill $tiny --normalise zca-else --out other --quiet
rm white/whitening.safetensors
expect 6 'bring it back' eval white

before=$(sums run)
expect 7 '' distill $tiny --out run --seed 4 --quiet
[ "$before" = "$(sums run)" ] || fail 'another run touched the folder'

# a set edited by hand
cp -r run edited
sed -i 's/"sha256": "[0-9a-f]/"sha256": "z/' edited/set.json
expect 3 'sha256' info edited
cp -r run edited2
printf 'x' | dd of=edited2/set.safetensors bs=1 seek=1200 conv=notrunc 2>/dev/null
expect 3 'set.safetensors' eval edited2
cp -r run edited3
truncate -s -7 edited3/set.safetensors
expect 3 'set.safetensors' export edited3 --out b.npz
[ ! -e b.npz ] || fail 'a refused export left a file'
cp -r run edited4
: >edited4/set.json
expect 3 'set.json' info edited4
cp -r run edited5
rm edited5/set.safetensors
expect 6 'set.safetensors' info edited5
finish
