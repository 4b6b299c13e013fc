#!/usr/bin/env bash
# ResNet-50 R-FCN on the animals of PASCAL VOC 2012 by alternating training: train on train, test on val.
#
#   bash experiments/rfcn/voc2012_animals_resnet50_alternate.sh [DATA [WEIGHTS]] [KEY=VALUE ...]
. "$(dirname "$0")/../rows/photographs.sh"
photographs voc2012_animals rfcn_alternate_train_test.py "$@"
