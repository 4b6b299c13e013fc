#!/usr/bin/env bash
# ResNet-50 R-FCN on blood cells (BCCD), end to end with OHEM, from ImageNet weights: train on trainval, test on test.
#
#   bash experiments/rfcn/bccd_resnet50.sh [DATA [WEIGHTS]] [KEY=VALUE ...]
#     DATA      folder with Annotations, ImageSets, JPEGImages
#     WEIGHTS   prefix of a parameter file: WEIGHTS-0000.params
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
first_of() { for candidate in "$@"; do [ -e "$candidate$suffix" ] && { echo "$candidate"; return; }; done; echo "$1"; }
argument() { case "${1:-}" in ''|*=*) return 1 ;; *) echo "$1" ;; esac; }

suffix= data=$(argument "${1:-}") && shift || data=$(suffix= first_of "$root/data/bccd" "$root/../shared/data/bccd")
weights=$(argument "${1:-}") && shift || weights=$(suffix=-0000.params first_of "$root/model/pretrained_model/resnet_v1_50" "$root/../shared/weights/resnet_v1_50")
[ -d "$data" ] || { echo "$data: no such folder; give the blood cells' folder as the first argument" >&2; exit 1; }
[ -f "$weights-0000.params" ] || { echo "$weights-0000.params: no such file; give the prefix as the second argument (rfcn/import_backbone.py makes one)" >&2; exit 1; }
python=${PYTHON:-$root/.venv/bin/python}
exec "$python" "$root/experiments/rfcn/rfcn_end2end_train_test.py" --cfg "$root/experiments/rfcn/cfgs/bccd_resnet50.yaml" \
    dataset.dataset_path="$data" network.pretrained="$weights" "$@"
