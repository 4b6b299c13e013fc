"""init.sh and what it decides, with stand-ins for Python, pip and nvidia-smi: nothing is installed."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PYTHON = r'''#!/bin/sh
case "$*" in
    *version_info*) echo "$FAKE_VERSION" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *ctypes*) [ -n "$FAKE_CUDA" ] ;;
    *"import rfcn, cv2"*) [ -z "$FAKE_MISSING" ] || { echo "ImportError: $FAKE_MISSING: cannot open" >&2; exit 1; } ;;
    *"pip show"*) [ -n "$FAKE_OTHER" ] ;;
    *not_compiled*) echo "$FAKE_UNBUILT" ;;
    *"pip install --quiet"*) ;;
    *) echo "$*" ;;
esac
'''

pytestmark = pytest.mark.skipif(not shutil.which('bash'), reason='init.sh is a bash script')


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def init(tmp_path):
    """Runs init.sh; returns its exit status and all that it printed."""
    def run(version='3.11', gpus='', **settings):
        executable(tmp_path / 'nvidia-smi', "#!/bin/sh\nprintf '%s'\n" % gpus)
        python = executable(tmp_path / 'fake_python', PYTHON)
        environment = dict(os.environ, PATH='%s:%s' % (tmp_path, os.environ['PATH']), VENV=str(tmp_path / 'venv'),
                           PYTHON=python, FAKE_VERSION=version)
        environment.pop('MXNET', None)
        done = subprocess.run(['bash', str(ROOT / 'init.sh')], env=dict(environment, **settings), cwd=str(tmp_path),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        return done.returncode, done.stdout
    return run


def test_a_machine_without_a_gpu_gets_the_mxnet_for_the_cpu(init, tmp_path):
    status, output = init()
    assert status == 0
    assert 'installing mxnet, which computes on the CPU: nvidia-smi shows no NVIDIA GPU' in output
    assert '-m pip install --editable .[mxnet,test]' in output
    assert (tmp_path / 'venv' / '.ready-auto').exists() and (tmp_path / 'venv' / '.built').exists()
    assert all((ROOT / folder).is_dir() for folder in ('data', 'output', 'model/pretrained_model'))


def test_a_gpu_that_the_wheel_has_code_for_gets_the_mxnet_for_cuda(init):
    status, output = init(gpus=r'NVIDIA H100, 9.0\nNVIDIA GeForce RTX 4090, 8.9\n', FAKE_CUDA='1')
    assert status == 0
    assert 'installing mxnet-cu112: NVIDIA GeForce RTX 4090' in output
    assert '.[mxnet-cu112,test]' in output


def test_a_gpu_without_the_cuda_libraries_gets_the_mxnet_for_the_cpu(init):
    status, output = init(gpus=r'Tesla V100, 7.0\n')
    assert status == 0
    assert 'mxnet-cu112 would need CUDA 11, cuDNN 8 and NCCL 2' in output
    assert '.[mxnet,test]' in output


@pytest.mark.parametrize('gpus', [r'NVIDIA H100, 9.0\n', r'NVIDIA B200, 10.0\n', r'Tesla K40, 3.5\n', r'GPU, [N/A]\n'])
def test_a_gpu_that_the_wheel_has_no_code_for_gets_the_mxnet_for_the_cpu(init, gpus):
    status, output = init(gpus=gpus, FAKE_CUDA='1')
    assert status == 0
    assert 'mxnet-cu112 has code for compute capability 5.0 to 8.9, and here is ' + gpus[:-2] in output
    assert '.[mxnet,test]' in output


def test_the_mxnet_that_was_asked_for_replaces_the_other(init, tmp_path):
    init()
    status, output = init(MXNET='mxnet-cu112', FAKE_OTHER='1')
    assert status == 0
    assert 'installing mxnet-cu112, as asked' in output
    assert '-m pip uninstall --quiet --yes mxnet mxnet-cu112' in output
    assert [path.name for path in (tmp_path / 'venv').glob('.ready-*')] == ['.ready-mxnet-cu112']


def test_an_unknown_mxnet_is_refused(init):
    status, output = init(MXNET='mxnet-cu999')
    assert status == 1
    assert 'MXNET must be mxnet or mxnet-cu112, not mxnet-cu999' in output


@pytest.mark.parametrize('version', ['3.13', '3.7', '2.7'])
def test_another_python_is_refused_in_one_sentence(init, version):
    status, output = init(version=version)
    assert status == 1
    assert 'MXNet 1.9.1 runs on Python 3.8 to 3.12, and here is %s: install one of these versions' % version in output
    assert len(output.strip().splitlines()) == 1


def test_a_virtual_environment_of_another_python_is_refused(init):
    init()
    status, output = init(version='3.13')
    assert status == 1
    assert 'holds no Python 3.8 to 3.12: delete that folder' in output


@pytest.mark.parametrize('library, package', [('libGL.so.1', 'libgl1'), ('libgthread-2.0.so.0', 'libglib2.0-0')])
def test_a_missing_system_library_is_named_with_its_package(init, tmp_path, library, package):
    status, output = init(FAKE_MISSING=library)
    assert status == 1
    assert 'import cv2 fails: ImportError: %s: cannot open' % library in output
    assert 'apt-get install %s' % package in output
    assert not list((tmp_path / 'venv').glob('.ready-*'))


def test_a_library_that_could_not_be_compiled_is_named(init, tmp_path):
    status, output = init(FAKE_UNBUILT='lib.nms.cpu_nms')
    assert status == 0
    assert 'not compiled: lib.nms.cpu_nms. NumPy does their work' in output and 'make build' in output
    assert not (tmp_path / 'venv' / '.built').exists()
