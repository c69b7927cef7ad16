#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Help, tables, and messages that name the nearest right word.
. "$(dirname "$0")/lib.sh"

works 'Usage: attar COMMAND' --help
works 'Usage: attar COMMAND' help
works 'attar ' --version
for c in distill plan profile presets eval baseline train experts info export data methods nets ops; do
    works "Usage: attar $c" help $c
    works 'Examples:' $c --help
done
works '.SH EXIT STATUS' help --man
env -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose "$ATTAR" --version 2>&1 | grep -q "GOMP_SPINCOUNT *= *'10000'" || fail 'waiting threads spin'
OMP_WAIT_POLICY=active OMP_DISPLAY_ENV=true "$ATTAR" --version 2>&1 | grep -q "OMP_WAIT_POLICY *= *'ACTIVE'" || fail 'the policy asked for is not kept'
works 'ATTAR_DATA' help --man
for s in bash zsh fish; do works eval help --completion $s; done
"$ATTAR" help --completion bash >attar.bash && { ! command -v bash >/dev/null || bash -n attar.bash; } || fail 'bash completion'
works CONV_DW ops
works '| CONV_DX |' ops --markdown
works convnet nets
works dm methods
works fashion-mnist data list
if command -v python3 >/dev/null; then
    for c in ops nets methods 'data list'; do
        "$ATTAR" $c --json | python3 -c 'import json,sys; assert json.load(sys.stdin)' || fail "attar $c --json"
    done
fi

expect 2 'no command is given'
expect 2 'did you mean "distill"' distil
expect 2 'did you mean "eval"' help evla
expect 2 'attar help lists them' zzzzzzzz
expect 2 'did you mean --iterations' distill --iteratoins 5
expect 2 '--ipc needs a value' distill --ipc
expect 2 '--ipc needs a value' distill --ipc --json
expect 2 'between 1 and' distill --ipc 0
expect 2 'integer' distill --ipc=ten
expect 2 'finite number' distill --holdout nan
expect 2 'real|noise' distill --init zeros
expect 2 'takes no value' distill --json=yes
expect 2 'KEY=VALUE' distill --set lr_img
expect 2 '--data is required' distill --out x
expect 2 '--out is required' distill --data digits
expect 2 '--data is required' experts --out x
expect 2 '--out is required' experts --data digits
expect 2 'between 1 and' experts --data digits --out x --experts 0
expect 2 'HEIGHTxWIDTH' data check digits --resize 8
expect 2 'one argument too many' info a b
expect 2 'expected DIR' info
expect 2 'did you mean "check"' data chek x
expect 2 'bash, zsh and fish' help --completion tcsh
expect 2 'options are long ones' eval -r 3
expect 6 '' data check no-such-set
expect 6 '' info no-such-folder
expect 6 '' distill --data digits --out x --method no-such-method --quiet
expect 6 '' distill --data digits --out x --net convnt --quiet
[ ! -e x ] || fail 'a refused command left its output folder behind'
if [ -w /dev/full ]; then
    "$ATTAR" ops >/dev/full 2>err
    [ $? -eq 4 ] || fail 'a full device is not reported'
fi
finish
