#!/usr/bin/env bash
# Sourced by the scripts: `python` is PYTHON, or that of the virtual environment in the project's folder `root`. Ends the
# script where there is none, or where it lacks packages.
python=${PYTHON:-$root/.venv/bin/python}
command -v "$python" > /dev/null || { echo "error: $python: no such program; run first: make build" >&2; exit 1; }
PYTHONPATH=$root "$python" -c 'from rfcn._compat import check_packages; check_packages()' || exit 1
