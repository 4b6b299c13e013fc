#!/usr/bin/env bash
# One row of the paper's or the release's tables, from nothing to its number. The row is the name by which this file is
# called: the script of each row is a copy of row.sh. Arguments KEY=VALUE override the row's YAML.
#   PYTHON=python bash experiments/rfcn/paper_voc07_rfcn.sh gpus=0,1
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/experiments/python.sh"
exec "$python" "$root/experiments/reproduce.py" --run "$(basename "$0" .sh)" "$@"
