#!/usr/bin/env bash
# What the rows on real photographs share: where data and weights lie, and what is said where they do not. Sourced:
#
#   photographs NAME_OF_THE_DATA SCRIPT [DATA [WEIGHTS]] [KEY=VALUE ...]
#     DATA      folder with Annotations, ImageSets, JPEGImages; by default data/NAME_OF_THE_DATA
#     WEIGHTS   prefix of a parameter file, WEIGHTS-0000.params; by default model/pretrained_model/resnet_v1_50
#
# Where the defaults are not there, ../shared beside the project is looked in, which several clones can use.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

first_of() {  # first_of SUFFIX CANDIDATE...: the first candidate that is there with the suffix, else the first
    local suffix=$1 candidate
    shift
    for candidate in "$@"; do [ ! -e "$candidate$suffix" ] || { echo "$candidate"; return; }; done
    echo "$1"
}

photographs() {
    local name=$1 script=$2 row data weights
    shift 2
    row=$(basename "$0" .sh)
    case "${1:-}" in ''|*=*) data=$(first_of '' "$root/data/$name" "$root/../shared/data/$name") ;; *) data=$1; shift ;; esac
    case "${1:-}" in
        ''|*=*) weights=$(first_of -0000.params "$root/model/pretrained_model/resnet_v1_50" "$root/../shared/weights/resnet_v1_50") ;;
        *) weights=$1; shift ;;
    esac
    . "$root/experiments/python.sh"
    [ -d "$data" ] || { echo "$data: no such folder; give the pictures' folder as the first argument" >&2; exit 1; }
    [ -f "$weights-0000.params" ] || {
        echo "$weights-0000.params: no such file; give its prefix as the second argument (rfcn import makes one)" >&2; exit 1; }
    exec "$python" "$root/experiments/rfcn/$script" --cfg "$root/experiments/rfcn/cfgs/$row.yaml" \
        dataset.dataset_path="$data" network.pretrained="$weights" "$@"
}
