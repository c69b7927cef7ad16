#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a run will cost: the plan's memory is the run's, nothing is written, profiles name what they measured.
. "$(dirname "$0")/lib.sh"

small="--data digits --ipc 2 --iterations 6 --net convnet:depth=2,width=32 --eval-repeats 1 --eval-epochs 2 --threads 1"
works '6 iterations of' plan $small
grep -q '^about [0-9.]* .* 2 networks of .*; memory [0-9]* MiB, disk [0-9.]* MiB$' out || fail "not a plan: $(cat out)"
works '"seconds_per_iteration": ' plan $small --json
grep -q '"seconds_per_iteration": 0,' out && fail 'an iteration takes no time'
sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' out >planned
works 'of peak' profile $small
grep -q '^row group' out && grep -q '^conv 4x4 32 to 32, 64 images' out || fail 'the profile names no row group or convolution'
works '"rows": [{"name": ' profile $small --json
works '0 networks' plan --data digits --ipc 1 --method random --set eval_repeats=0
expect 2 'plan: --data is required' plan
expect 2 '500M or 4G' plan --data digits --memory-limit 3X
expect 5 'memory limit is 1.0 MiB' plan --data digits --memory-limit 1M
works 'memory' plan --data digits --ipc 1 --memory-limit 4G --iterations 1
expect 5 'memory limit is 1.0 MiB' distill --data digits --memory-limit 1M --out not/yet/there
works 'makes no iterations' profile --data digits --method random --set eval_repeats=0
expect 2 '' profile --data digits --iterations 0x5
[ "$(ls)" = "$(printf 'cache\nerr\nout\nplanned')" ] || fail "a plan wrote something: $(ls)"

"$ATTAR" distill $small --out run >out 2>err || fail 'distill failed'
grep -q 'about .* iterations of' err || fail 'distill does not say what the run will cost'
sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' run/run.json >used
# a sanitizer keeps freed memory for a while, and so the longer run more of it
grep -q __asan_init "$ATTAR" || awk 'NR == FNR { p = $1; next } { exit !($1 < 1.1 * p && $1 > 0.9 * p) }' planned used ||
    fail "planned $(cat planned) bytes, used $(cat used)"
works 'row group' distill $small --quiet --profile --out run2
"$ATTAR" train --data digits --epochs 1 --net convnet:depth=2,width=16 --quiet --profile >out 2>err && grep -q conv_dw err ||
    fail 'train --profile shows no conv_dw'
finish
