#!/usr/bin/env bash
# COCO into data/coco:
#   data/get_coco.sh [2014] [minival] [2017] [test2015] [test2017] [--dry-run] [--folder DIR] [--mirror URL] [--keep]
# Without a set: 2014 and minival, 21 GB. See data/README.md.
exec "${PYTHON:-python3}" "$(dirname "$0")/fetch.py" coco "$@"
