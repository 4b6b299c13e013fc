#!/usr/bin/env bash
# make test-pythons: the tests with each Python 3.8 to 3.14 that is here, in turn, each in an environment of its own.
# Arguments go to pytest.
set -uo pipefail
cd "$(dirname "$0")/.."
pyenv=${PYENV_ROOT:-${HOME:-/nowhere}/.pyenv}/versions

find_python() {
    local candidate
    for candidate in "python$1" "$pyenv/$1".*/bin/python; do
        [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$1" ] || { echo "$candidate"; return; }
    done
}

failed= found=
for version in 3.8 3.9 3.10 3.11 3.12 3.13 3.14; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version: not here"
        continue
    fi
    found="$found $version"
    echo "Python $version: $python"
    venv=.venv-$version
    if VENV=$venv PYTHON=$python MXNET=mxnet ./init.sh > "$venv.log" 2>&1; then
        "$venv/bin/python" -m pytest -q -m 'not slow' "$@" || failed="$failed $version"
    else
        tail -n 3 "$venv.log"
        failed="$failed $version"
    fi
done
echo "tested with:${found:- no Python at all}; failed:${failed:- none}"
[ -z "$failed" ] && [ -n "$found" ]
