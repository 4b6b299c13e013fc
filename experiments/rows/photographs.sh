#!/usr/bin/env bash
# What the rows on real photographs share: where data and weights lie, and what is said where they do not. Sourced:
#
#   photographs NAME_OF_THE_DATA SCRIPT [DATA [WEIGHTS]] [KEY=VALUE ...]
#     DATA      folder with Annotations, ImageSets, JPEGImages; by default data/NAME_OF_THE_DATA
#     WEIGHTS   prefix of a parameter file, WEIGHTS-0000.params; by default model/pretrained_model/resnet_v1_50
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

photographs() {
    local data=$root/data/$1 script=$2 weights=$root/model/pretrained_model/resnet_v1_50
    shift 2
    case "${1:-}" in ''|*=*) ;; *) data=$1; shift ;; esac
    case "${1:-}" in ''|*=*) ;; *) weights=$1; shift ;; esac
    . "$root/experiments/python.sh"
    [ -d "$data" ] || { echo "$data: no such folder; give the pictures' folder as the first argument" >&2; exit 1; }
    [ -f "$weights-0000.params" ] || {
        echo "$weights-0000.params: no such file; give its prefix as the second argument (rfcn import makes one)" >&2; exit 1; }
    exec "$python" "$root/experiments/rfcn/$script" --cfg "$root/experiments/rfcn/cfgs/$(basename "$0" .sh).yaml" \
        dataset.dataset_path="$data" network.pretrained="$weights" "$@"
}
