#!/usr/bin/env bash
# ResNet-50 R-FCN on blood cells (BCCD), end to end with OHEM, from ImageNet weights: train on trainval, test on test.
#
#   bash experiments/rfcn/bccd_resnet50.sh [DATA [WEIGHTS]] [KEY=VALUE ...]
. "$(dirname "$0")/../rows/photographs.sh"
photographs bccd rfcn_end2end_train_test.py "$@"
