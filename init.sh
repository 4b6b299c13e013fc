#!/usr/bin/env bash
# Sets the project up: a virtual environment with the pinned packages, the compiled library, the release's folders.
#
#   ./init.sh                                   a Python 3.8 to 3.14 of the PATH, and the MXNet that fits this machine
#   PYTHON=python3.9 MXNET=mxnet-cu112 VENV=/some/where ./init.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"      # called as `sh ./init.sh`, as the release's page has it
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
VENV=${VENV:-.venv}
MXNET=${MXNET:-auto}
PYTHON=${PYTHON:-}
VERSIONS='3.13 3.14 3.12 3.11 3.10 3.9 3.8'     # in the order in which they are taken: the newest packages first
GPU_MEGABYTES=6500      # measured: what a new environment with mxnet-cu112 takes, and the packages while pip unpacks them
CPU_MEGABYTES=1500

say() { echo "init.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
pip_failed() {
    fail "pip failed; its message stands above. If it tells of a connection: call this again with a network, or with" \
        "HTTPS_PROXY set."
}

# The lock of this folder, which lasts until this script has ended.
one_at_a_time() {
    command -v flock >/dev/null || return 0
    exec 9< .
    flock -n 9 || { say "another init.sh is at work here; waiting for it."; flock 9 || true; }
}

# A command named python3.9 need not be one (pyenv's stand-ins may refuse to run), so each is asked.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }
fits() { case " $VERSIONS " in *" ${1:-none} "*) ;; *) return 1 ;; esac; }

# Prints nothing where no Python fits.
find_python() {
    local version candidate pyenv=${PYENV_ROOT:-${HOME:-/nowhere}/.pyenv}/versions
    for version in $VERSIONS; do
        set -- "python$version" python3 python "$pyenv/$version".*/bin/python
        [ -z "$PYTHON" ] || set -- "$PYTHON"
        for candidate in "$@"; do
            [ "$(version_of "$candidate")" != "$version" ] || { echo "$candidate"; return; }
        done
    done
}

no_python() {
    local found= here='this machine has'
    set -- python3 python python3.7 python3.15
    [ -z "$PYTHON" ] || { set -- "$PYTHON"; here="PYTHON=$PYTHON is"; }
    for candidate in "$@"; do found="$found $(version_of "$candidate")"; done
    found=$(echo $found | tr ' ' '\n' | sort -u | paste -sd' ' -)
    say "MXNet 1.9.1 runs here on Python 3.8 to 3.14, and $here ${found:-no Python}. Install one:"
    say "    Debian 13:     apt-get install python3.13 python3.13-venv"
    say "    Debian 12:     apt-get install python3.11 python3.11-venv"
    say "    Ubuntu 24.04:  apt-get install python3.12 python3.12-venv      26.04: python3.14 python3.14-venv"
    say "    conda:         conda create -n rfcn python=3.13, then PYTHON=\$(conda run -n rfcn which python) $0"
    fail "    anywhere:      pip install uv, then $0 again: uv brings a Python of its own"
}

make_venv() {
    local python ours=
    if [ -x "$VENV/bin/python" ]; then
        fits "$(version_of "$VENV/bin/python")" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
        fail "$VENV holds no Python 3.8 to 3.14 with pip: delete that folder, or choose another with VENV=."
    fi
    if [ ! -e "$VENV/pyvenv.cfg" ]; then    # else it is what an interrupted call left
        [ -z "$(ls -A "$VENV" 2>/dev/null)" ] || fail "$VENV is there and is no environment: choose another with VENV=."
        ours=yes
    fi
    python=$(find_python)
    if [ -n "$python" ]; then
        say "making $VENV with $python ($(version_of "$python"))."
        [ -z "$ours" ] || trap 'rm -rf "$VENV"' EXIT    # where it fails or is interrupted
        "$python" -m venv "$VENV" && trap - EXIT && return
        fail "$python could not make $VENV; its message stands above. If it has no venv: apt-get install" \
            "python$(version_of "$python")-venv"
    fi
    [ -z "$PYTHON" ] && command -v uv >/dev/null || no_python
    say "no Python 3.8 to 3.14 is here; uv makes $VENV with its Python 3.13."
    uv venv --quiet --seed --python 3.13 "$VENV" || fail "uv could not get Python 3.13; its message stands above."
}

# The mxnet-cu112 wheel holds machine code for sm_50, 60, 70, 80 and 86 and no PTX, which a later GPU could compile.
choose_mxnet() {
    local gpus name capability usable= cpu='installing mxnet, which computes on the CPU:'
    if [ "$MXNET" != auto ]; then
        say "installing $MXNET, as asked."
        echo "$MXNET"
        return
    fi
    gpus=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null || true)
    while IFS=, read -r name capability; do
        case "${capability// /}" in [5-8].*) usable=$name ;; esac
    done <<< "$gpus"
    if [ -n "$usable" ]; then
        say "installing mxnet-cu112 and the CUDA 11 libraries that it needs, for $usable."
        echo mxnet-cu112
        return
    fi
    if [ -z "$gpus" ]; then
        say "$cpu nvidia-smi shows no NVIDIA GPU."
    else
        say "$cpu mxnet-cu112 has code for compute capability 5.0 to 8.9, and here is $(echo $gpus)."
    fi
    echo mxnet
}

# Of the disk that holds $VENV, unless the packages are there already.
check_space() {
    local needed=$1 free
    free=$(df -Pm "$VENV" | awk 'NR == 2 {print $4}')
    [ "$free" -ge "$needed" ] || fail "$2 needs some $needed MB on the disk of $VENV, and $free MB are free." \
        "Make room, or choose another disk with VENV=${3:-}."
}

install() { "$VENV/bin/python" -m pip install --constraint constraints.txt "$@" || pip_failed; }
is_installed() { "$VENV/bin/python" -m pip show --quiet "$1" 2>/dev/null; }

# The Debian package of a shared library that an import asked for in vain.
package_of() {
    case "$1" in
        *libGL.so*) echo libgl1 ;;
        *libgthread*|*libglib*) echo libglib2.0-0 ;;
        *libgomp*) echo libgomp1 ;;
    esac
}

check_import() {
    local message package
    message=$("$VENV/bin/python" -W ignore -c "import rfcn; from rfcn._compat import needing_mxnet
with needing_mxnet():
    import $1" 2>&1) && return
    message=$(tail -n 1 <<< "$message")
    if [[ $MXNET != auto && $message == *libcuda.so.1* ]]; then     # such as while a container's image is built
        say "note: NVIDIA's driver is not here (libcuda.so.1). mxnet-cu112 is installed and needs it to start."
        return
    fi
    package=$(package_of "$message")
    fail "import $1 fails: ${message#rfcn._compat.MXNetMissing: }${package:+. What is missing: apt-get install $package}"
}

[ -w . ] || fail "$PWD cannot be written, and what belongs to the project is made there: clone it to where you may write."
one_at_a_time
make_venv
mxnet=$(choose_mxnet)
case "$mxnet" in
    mxnet) other=mxnet-cu112 needed=$CPU_MEGABYTES ;;
    mxnet-cu112) other=mxnet needed=$GPU_MEGABYTES ;;
    *) fail "MXNET must be mxnet or mxnet-cu112, not $mxnet." ;;
esac
is_installed "$mxnet" || check_space "$needed" "$mxnet with what belongs to it" ", or MXNET=mxnet"
rm -f "$VENV"/.ready-*
if is_installed "$other"; then
    "$VENV/bin/python" -m pip uninstall --quiet --yes "$other" "$mxnet"  # both own the folder mxnet
fi
"$VENV/bin/python" -m pip install --quiet 'pip>=23' || pip_failed
install setuptools wheel cython
install --no-build-isolation --editable ".[$mxnet,zoo,dev]"
install --no-deps "$mxnet"      # it claims to need NumPy < 2; pyproject.toml tells more
check_import cv2
check_import mxnet
mkdir -p data output model/pretrained_model
missing=$("$VENV/bin/python" -c 'from rfcn.collect_env import not_compiled; print(*not_compiled())')
touch "$VENV/.ready-$MXNET"
if [ -z "$missing" ]; then
    touch "$VENV/.built"
else
    say "not compiled: $missing. NumPy or MXNet does their work, slower. Install gcc and Python's headers" \
        "(apt-get install gcc python3-dev), then: make build."
fi
say "ready: $VENV. Next: make demo, make test."
