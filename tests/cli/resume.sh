#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 at ten moments, resume each time: the same bytes as a run nobody disturbed.
. "$(dirname "$0")/lib.sh"

flags="--data digits --ipc 1 --iterations 300 --checkpoint-every 5 --net convnet:depth=2,width=32 --eval-repeats 1 --eval-epochs 20 --seed 7 --threads 1 --quiet"
"$ATTAR" distill $flags --out whole >/dev/null || fail 'the undisturbed run failed'
# Moments from the process number: other ones each time, printed so that a failure can be repeated.
x=$$ resume= kills=0 i=0
while [ $i -lt 10 ]; do
    x=$(((x * 1103515245 + 12345) % 2147483648)) i=$((i + 1))
    wait_ms=$((x / 65536 % 900 + 50))
    "$ATTAR" distill $flags --out cut $resume >/dev/null 2>err &
    pid=$!
    sleep "$(printf '0.%03d' $wait_ms)"
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    wait $pid 2>/dev/null
    echo "moment $i: ${wait_ms} ms"
    [ -d cut ] && resume=--resume
done
mkdir -p cut/checkpoint && touch cut/checkpoint/state.safetensors.tmp.4711 # as a kill inside a write leaves it
"$ATTAR" distill $flags --out cut $resume >/dev/null || fail 'the last resume failed'
[ $kills -gt 0 ] || fail 'no run lived long enough to be killed'
for f in set.safetensors set.json grid.png; do cmp whole/$f cut/$f || fail "$f differs after resuming"; done
[ -z "$(find cut -name '*.tmp.*')" ] || fail 'what killed processes left is still there'

# an orderly interruption: exit status 130 and one message
"$ATTAR" distill $flags --out stopped >/dev/null 2>err &
pid=$!
sleep 1
if kill -TERM $pid 2>/dev/null; then
    wait $pid
    status=$?
    [ $status -eq 130 ] || [ $status -eq 0 ] || fail "SIGTERM: exit status $status"
    [ $status -eq 0 ] || grep -q -e '--resume' err || fail 'the message does not say how to go on'
fi

# the choice of a coreset, which would take hours here, hears it too
"$ATTAR" distill --method kmeans --data digits --ipc 1 --set train_epochs=10000 --threads 1 --quiet --out chosen >/dev/null 2>err &
pid=$!
sleep 2
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 130 ] || fail "SIGTERM while a coreset is chosen: exit status $status"
grep -q 'before the first checkpoint' err || fail 'the message names a checkpoint that is not there'
finish
