#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# grad.sh ATTAR DATA [OPTION..]: grad_parity.py on a data set; 77 means skipped.
set -eu
attar=$1
data=$2
shift 2
python=/usr/bin/python3
[ -x "$python" ] || python=python3
command -v "$python" >/dev/null || { echo "skipped: no python3"; exit 77; }
[ "$data" = digits ] || [ -d "/usr/share/datasets/$data" ] || [ -n "${ATTAR_DATA:-}" ] ||
    { echo "skipped: /usr/share/datasets/$data is not there"; exit 77; }
"$python" "$(dirname "$0")/grad_parity.py" "$attar" --data "$data" "$@"
