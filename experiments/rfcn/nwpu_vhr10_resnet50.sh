#!/usr/bin/env bash
# ResNet-50 R-FCN on aerial pictures (NWPU VHR-10), end to end with OHEM: train on trainval, test on test.
#
#   bash experiments/rfcn/nwpu_vhr10_resnet50.sh [DATA [WEIGHTS]] [KEY=VALUE ...]
. "$(dirname "$0")/../rows/photographs.sh"
photographs nwpu_vhr10 rfcn_end2end_train_test.py "$@"
