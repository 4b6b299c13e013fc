#!/usr/bin/env bash
# PASCAL VOC into data/VOCdevkit:
#   data/get_voc.sh [2007] [2012] [2012test] [--dry-run] [--folder DIR] [--mirror URL] [--keep]
# Without a set: 2007 (trainval and test) and 2012 (trainval), 3 GB. See data/README.md.
exec "${PYTHON:-python3}" "$(dirname "$0")/fetch.py" voc "$@"
