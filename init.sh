#!/usr/bin/env bash
# Sets the project up: a virtual environment with the pinned packages, the compiled library, the release's folders.
#
#   ./init.sh                                   a Python 3.8 to 3.12 of the PATH, and the MXNet that fits this machine
#   PYTHON=python3.9 MXNET=mxnet-cu112 VENV=/some/where ./init.sh
set -euo pipefail
cd "$(dirname "$0")"
VENV=${VENV:-.venv}
MXNET=${MXNET:-auto}
PYTHON=${PYTHON:-}

say() { echo "init.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# A command named python3.9 need not be one (pyenv's stand-ins may refuse to run), so each is asked.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

find_python() {
    local version candidate found= pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
    for version in 3.11 3.10 3.9 3.12 3.8; do
        for candidate in ${PYTHON:-"python$version" python3 python "$pyenv/$version".*/bin/python}; do
            [ "$(version_of "$candidate")" != "$version" ] || { echo "$candidate"; return; }
        done
    done
    for candidate in ${PYTHON:-python3 python python3.13 python3.14}; do found="$found $(version_of "$candidate")"; done
    found=$(echo $found | tr ' ' '\n' | sort -u | paste -sd' ' -)
    fail "MXNet 1.9.1 runs on Python 3.8 to 3.12, and here is ${found:-no Python}: install one of these versions" \
         "(apt-get install python3.11 python3.11-venv, or pyenv install 3.11)" \
         "and name it, PYTHON=/path/to/python3.11 $0."
}

# The mxnet-cu112 wheel holds machine code for sm_50, 60, 70, 80 and 86 and no PTX, which a later GPU could compile.
choose_mxnet() {
    local python=$1 gpus name capability usable= cpu='installing mxnet, which computes on the CPU:'
    local cuda='import ctypes; [ctypes.CDLL(name) for name in ("libcudart.so.11.0", "libcudnn.so.8", "libnccl.so.2")]'
    if [ "$MXNET" != auto ]; then
        say "installing $MXNET, as asked."
        echo "$MXNET"
        return
    fi
    gpus=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null || true)
    while IFS=, read -r name capability; do
        case "${capability// /}" in [5-8].*) usable=$name ;; esac
    done <<< "$gpus"
    if [ -z "$gpus" ]; then
        say "$cpu nvidia-smi shows no NVIDIA GPU."
    elif [ -z "$usable" ]; then
        say "$cpu mxnet-cu112 has code for compute capability 5.0 to 8.9, and here is $(echo $gpus)."
    elif ! "$python" -c "$cuda" 2>/dev/null; then
        say "$cpu for the GPU ($usable) mxnet-cu112 would need CUDA 11, cuDNN 8 and NCCL 2 on the loader's path." \
            "Once they are there: make build MXNET=mxnet-cu112."
    else
        say "installing mxnet-cu112: $usable, CUDA 11, cuDNN 8 and NCCL 2 are here."
        echo mxnet-cu112
        return
    fi
    echo mxnet
}

make_venv() {
    local python
    if [ -x "$VENV/bin/python" ]; then
        case "$(version_of "$VENV/bin/python")" in
            3.8|3.9|3.10|3.11|3.12) return ;;
            *) fail "$VENV holds no Python 3.8 to 3.12: delete that folder, or choose another with VENV=." ;;
        esac
    fi
    python=$(find_python)
    say "making $VENV with $python ($(version_of "$python"))."
    "$python" -m venv "$VENV" && return
    rm -rf "$VENV"
    fail "$python has no venv: apt-get install python$(version_of "$python")-venv"
}

# The Debian package of a shared library that an import asked for in vain.
package_of() {
    case "$1" in
        *libGL.so*) echo libgl1 ;;
        *libgthread*|*libglib*) echo libglib2.0-0 ;;
        *libgomp*) echo libgomp1 ;;
        *libcu*|*libnccl*|*libnvrtc*) echo 'CUDA 11, cuDNN 8 and NCCL 2 (or set up again with MXNET=mxnet)' ;;
    esac
}

check_import() {
    local message package
    message=$("$VENV/bin/python" -W ignore -c "import rfcn, $1" 2>&1) && return
    message=$(tail -n 1 <<< "$message")
    package=$(package_of "$message")
    fail "import $1 fails: $message${package:+. What is missing: apt-get install $package}"
}

make_venv
"$VENV/bin/python" -m pip install --quiet 'pip>=23' || fail "pip failed; its message stands above."
mxnet=$(choose_mxnet "$VENV/bin/python")
case "$mxnet" in
    mxnet) other=mxnet-cu112 ;;
    mxnet-cu112) other=mxnet ;;
    *) fail "MXNET must be mxnet or mxnet-cu112, not $mxnet." ;;
esac
rm -f "$VENV"/.ready-*
if "$VENV/bin/python" -m pip show --quiet "$other" 2>/dev/null; then
    "$VENV/bin/python" -m pip uninstall --quiet --yes "$other" "$mxnet"  # both own the folder mxnet
fi
"$VENV/bin/python" -m pip install --editable ".[$mxnet,test]" || fail "pip failed; its message stands above."
check_import cv2
check_import mxnet
mkdir -p data output model/pretrained_model
missing=$("$VENV/bin/python" -c 'from rfcn.collect_env import not_compiled; print(*not_compiled())')
touch "$VENV/.ready-$MXNET"
if [ -z "$missing" ]; then
    touch "$VENV/.built"
else
    say "not compiled: $missing. NumPy does their work, slower. Install gcc and Python's headers" \
        "(apt-get install gcc python3-dev), then: make build."
fi
say "ready: $VENV. Next: make demo, make test."
