#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# attar tune keeps what it measures in the user's cache and does not measure it again; a resumed run keeps the kernels that
# it began with.
. "$(dirname "$0")/lib.sh"

small="--net convnet:depth=2,width=16 --image 1x8x8 --threads 1"
works "kept in $XDG_CACHE_HOME/attar/kernels.txt" tune $small
[ "$(grep -c '^conv' "$XDG_CACHE_HOME/attar/kernels.txt")" -ge 5 ] || fail "too few kernels: $(cat "$XDG_CACHE_HOME/attar/kernels.txt")"
cp "$XDG_CACHE_HOME/attar/kernels.txt" before
works '"kernels": [{"shape": ' tune $small --json
cmp before "$XDG_CACHE_HOME/attar/kernels.txt" || fail "known kernels were measured again"
works 'conv 32x1x8x8 to 16' tune $small
[ "$(grep -c '^conv[_ ]' out)" -eq "$(grep -c '^conv' "$XDG_CACHE_HOME/attar/kernels.txt")" ] || fail "not all kernels are shown: $(cat out)"
works 'conv 32x1x8x8 to 8' tune --net convnet:depth=1,width=8 --image 1x8x8 --threads 1
grep -q 'to 16' out && fail "kernels of another network are shown: $(cat out)"
expect 2 "3x32x32" tune --image 32
expect 2 "no folder" tune --no-tune
expect 2 "no folder" tune --backend ref

run="distill --data digits --net convnet:depth=2,width=16 --ipc 1 --iterations 6 --eval-repeats 1 --eval-epochs 2 --threads 1 --quiet"
"$ATTAR" $run --no-tune --out rules >/dev/null || fail "a run by rules failed"
[ ! -e rules/checkpoint/kernels.txt ] || fail "a run by rules remembers kernels"
"$ATTAR" $run --out whole >/dev/null || fail "a tuned run failed"
"$ATTAR" $run --iterations 3 --out half >/dev/null || fail "half a run failed"
rm -r "$XDG_CACHE_HOME/attar" # as if measured anew, elsewhere
"$ATTAR" $run --out half --resume >/dev/null || fail "the other half failed"
cmp whole/set.safetensors half/set.safetensors || fail "the resumed run differs"
XDG_CACHE_HOME=/proc/nowhere "$ATTAR" $run --out nocache >/dev/null || fail "a run without a cache failed"
finish
