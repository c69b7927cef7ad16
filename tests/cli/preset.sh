#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Published settings by name, a budget of time, and the table of what goes with what.
. "$(dirname "$0")/lib.sh"

small="--data digits --net convnet:depth=1,width=8 --eval-repeats 2 --eval-epochs 3 --threads 1"
works 'dsa/cifar10/10 ' presets
works 'remembered' presets
works 'normalise=zca-mtt method=mtt ' presets mtt/cifar10/1
works '"name": "ld/mnist/10"' presets ld --json
expect 6 'did you mean "dsa/cifar10' presets dsa/cifa10
works '"settings": "method=mtt data=cifar10 ipc=1 iterations=5000' presets --json
expect 6 'did you mean "dsa/cifar10/10"' distill --preset dsa/cifa10/10 --out x
"$ATTAR" distill --preset mtt/cifar10/50 $small --iterations 1 --out x 2>err && fail 'mtt without experts'
grep -q 'name their folder with --set experts=' err || fail "no word of experts: $(cat err)"
expect 2 'not of dsa' distill --preset dc/mnist/1 --method dsa $small --out x

# what is given stands, before the preset or after it
works 'dc/mnist/10 expects 97.4 within 1: the result is ' distill --iterations 2 --preset dc/mnist/10 $small --set lr_img=1 --set outer_loop=2 --set inner_loop=1 --out run
grep -q 'points off, below it' out || fail "no verdict: $(cat out)"
grep -q 'accuracy: authors. repository' out || fail 'the source of the expected accuracy is not named'
grep -q '^otherwise than preset dc/mnist/10: .*iterations 2 for 1000.*lr_img 1 for 0.1' err || fail "overrides are not told: $(cat err)"
grep -q '"ipc": "10"' run/config.json && grep -q '"init": "noise"' run/config.json && grep -q '"lr_img": "1"' run/config.json ||
    fail 'the options are not those of the preset and the flags'
grep -q '"preset": "dc/mnist/10"' run/set.json && grep -q '"expected": {"accuracy": 0.974, ' run/set.json || fail 'set.json does not name the preset'
works '"preset": {"name": "dc/mnist/10", "expected": 0.974' distill --resume --iterations 2 --preset dc/mnist/10 $small --set lr_img=1 --set outer_loop=2 --set inner_loop=1 --out run --json --quiet
works 'iterations of' plan --preset dm/mnist/1 $small

expect 2 '30m or 1h30m' distill $small --budget 30 --out x
expect 2 '30m or 1h30m' distill $small --budget 5s1m --out x
expect 2 'allows no iteration' distill $small --budget 0.001s --out x --quiet
[ ! -e x ] || fail 'a refused run left its folder behind'
works 'set ' distill $small --budget 0h0.05m --set batch_real=16 --out budget --quiet
grep -q '^a budget of 3 s allows [0-9]* of 20000 iterations$' err || fail "the choice is not told: $(cat err)"
grep -q '"budget": {"seconds": 3, "iterations": ' budget/set.json || fail 'set.json does not tell of the budget'
"$ATTAR" distill $small --budget 3s --set batch_real=16 --out budget --resume --quiet >out 2>err || fail "no resume: $(cat err)"
[ ! -s err ] || fail "a resumed run chose again: $(cat err)"

works '| labels ' methods --matrix
works 'init noise' methods --matrix --markdown
works 'derivative: second order' methods
works 'a step: ' methods
works 'syn_steps' methods mtt
[ "$(grep -c 'a step: ' out)" -eq 1 ] || fail 'attar methods mtt shows others'
works 'mtt' methods mtt --matrix
[ "$(wc -l <out)" -eq 3 ] || fail 'attar methods mtt --matrix shows others'
expect 6 'did you mean dsa' methods dsaa
expect 6 'did you mean widening' nets widning
expect 8 'batch norm means nothing to method cafe' distill $small --method cafe --net convnet:norm=batch --out x
expect 8 'init=noise means nothing to method random' distill $small --method random --init noise --out x
if command -v python3 >/dev/null; then
    for c in presets 'methods --matrix'; do
        "$ATTAR" $c --json | python3 -c 'import json,sys; assert json.load(sys.stdin)' || fail "attar $c --json"
    done
fi
finish
