#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# attar experts: stopped and gone on is the same bytes, and what another command is told about its folder.
. "$(dirname "$0")/lib.sh"

set -- --data digits --net convnet:depth=2,width=32 --experts 2 --expert-epochs 8 --threads 1 --no-tune
works 'test accuracy' experts "$@" --out whole
works '"snapshots": 18' experts "$@" --out whole --json --quiet

"$ATTAR" experts "$@" --out parts --quiet 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && [ ! -e parts/000/002.safetensors ]; do :; done
kill -INT $pid 2>/dev/null
wait $pid
status=$?
[ $status -eq 130 ] || [ $status -eq 0 ] || fail "interrupted: exit status $status"
[ $status -eq 0 ] || grep -qF 'the same command goes on' err || fail "interrupted: $(cat err)"
works 'test accuracy' experts "$@" --out parts --quiet
(cd whole && sums .) >a
(cd parts && sums .) >b
cmp -s a b || fail 'stopped and gone on differs from not stopped'

expect 7 'lr=0.01, this call asks for 0.02' experts "$@" --out whole --lr 0.02 --quiet
expect 7 'expert_epochs=8, this call asks for 7' experts "$@" --out whole --expert-epochs 7 --quiet
expect 2 'did you mean crop' experts "$@" --out new --aug crp --quiet
[ ! -e new ] || fail 'a refused command left its output folder behind'
works '3         27' experts "$@" --out whole --experts 3 --quiet
finish
