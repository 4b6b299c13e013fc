#!/usr/bin/env bash
# ResNet-50 R-FCN on the animals of PASCAL VOC 2012, end to end with OHEM, from ImageNet weights: train on train, test on val.
#
#   bash experiments/rfcn/voc2012_animals_resnet50.sh [DATA [WEIGHTS]] [KEY=VALUE ...]
. "$(dirname "$0")/../rows/photographs.sh"
photographs voc2012_animals rfcn_end2end_train_test.py "$@"
