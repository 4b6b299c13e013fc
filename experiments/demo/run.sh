#!/usr/bin/env bash
# The whole of the project in some minutes: draw a data set, train a small R-FCN on it from scratch, test it, show what it found.
#   PYTHON=python bash experiments/demo/run.sh [KEY=VALUE ...]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
. experiments/python.sh
run=output/demo/demo

"$python" experiments/demo/make_dataset.py --out data/demo
"$python" experiments/rfcn/rfcn_end2end_train_test.py --cfg experiments/demo/demo.yaml \
    TRAIN.RESUME=auto TRAIN.OVERWRITE=true "$@"
"$python" experiments/draw_sheet.py --cfg "$run/train/config.yaml" --detections "$run"/test/*_detections.pkl \
    --out "$run/detections.jpg" --count 24 --width 1920
"$python" experiments/plot_curves.py "$run/train/rfcn_demo-log.jsonl" "$run/curves.png"
echo "Test images with what was found in them: $run/detections.jpg"
echo "Losses and validation mAP:               $run/curves.png"
echo "Detections in a picture of your own:     $(printf %q "$python") rfcn/demo.py --cfg $run/train/config.yaml" \
     "--params $run/train/rfcn_demo-best.params --image PICTURE --out DIR"
