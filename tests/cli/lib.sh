# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share. Each is started with the program as its first argument.
ATTAR=$1
[ -x "$ATTAR" ] || { echo "usage: $0 PATH-OF-ATTAR" >&2; exit 2; }
case $ATTAR in /*) ;; *) ATTAR=$PWD/$ATTAR ;; esac
DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT
export XDG_CACHE_HOME="$DIR/cache" # measured kernels: not the user's
mkdir "$XDG_CACHE_HOME" || exit 2
cd "$DIR" || exit 2
failures=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# sums PATH: checksums of all files below PATH
sums() {
    find "$1" -type f -exec sha256sum {} + 2>/dev/null | sort -k 2
}

# expect STATUS WORDS ARGS...: attar ARGS exits with STATUS, stderr is one line `attar: ...` holding WORDS
expect() {
    want=$1 words=$2
    shift 2
    "$ATTAR" "$@" >out 2>err
    got=$?
    [ $got -eq "$want" ] || fail "attar $*: exit status $got, expected $want: $(head -n 1 err)"
    [ "$(wc -l <err)" -eq 1 ] || fail "attar $*: $(wc -l <err) lines on stderr: $(cat err)"
    grep -q '^attar: ' err || fail "attar $*: the message does not start with 'attar: '"
    grep -qF -e "$words" err || fail "attar $*: \"$(cat err)\" does not say \"$words\""
}

# works WORDS ARGS...: attar ARGS succeeds and stdout holds WORDS
works() {
    words=$1
    shift
    "$ATTAR" "$@" >out 2>err || fail "attar $*: failed: $(cat err)"
    grep -qF -e "$words" out || fail "attar $*: the output does not hold \"$words\""
}

finish() {
    [ $failures -eq 0 ] || { echo "$failures failures"; exit 1; }
    echo "all passed"
}
