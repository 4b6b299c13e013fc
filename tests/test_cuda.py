"""mxnet-cu112 with the CUDA libraries of the package index, on a machine without a GPU and without NVIDIA's driver.

A stand-in for the driver's libcuda.so.1 is compiled here. It has all functions that libmxnet.so asks it for, and says
that there is no GPU. It stands here and not in tests/rfcn, whose fixtures need MXNet.
"""
import os
import shutil
import subprocess
import sys
from importlib import metadata

import pytest

from rfcn import _compat

# What libmxnet.so of mxnet-cu112 1.9.1 asks the driver for: nm -D --undefined-only libmxnet.so | grep " cu[A-Z]"
FUNCTIONS = ('cuDeviceGet', 'cuDevicePrimaryCtxRetain', 'cuGetErrorString', 'cuGraphKernelNodeGetParams',
             'cuGraphNodeGetType', 'cuLaunchKernel', 'cuModuleGetFunction', 'cuModuleLoadData', 'cuModuleLoadDataEx',
             'cuModuleUnload')
NO_DEVICE = 100     # CUDA_ERROR_NO_DEVICE
PROGRAM = '''
import ctypes, os
ctypes.CDLL(os.environ['STAND_IN'])
import rfcn
from rfcn import _compat
import mxnet as mx
print(len(_compat.CUDA_LOADED), mx.context.num_gpus(), mx.nd.ones((2, 2)).sum().asscalar())
from rfcn.core.module import contexts
try:
    contexts('0')
except ValueError as error:
    print(error)
'''

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not _compat.is_installed(),
    reason='mxnet-cu112 is not installed here: make build MXNET=mxnet-cu112 VENV=.venv-gpu')]


@pytest.fixture(scope='module')
def stand_in(tmp_path_factory):
    """Path of a libcuda.so.1 without a GPU."""
    if not shutil.which('gcc'):
        pytest.skip('no gcc to compile the stand-in for libcuda.so.1 with')
    folder = tmp_path_factory.mktemp('driver')
    functions = FUNCTIONS + ('cuInit', 'cuDriverGetVersion', 'cuDeviceGetCount')
    (folder / 'cuda.c').write_text('\n'.join('int %s(void) { return %d; }' % (name, NO_DEVICE) for name in functions))
    subprocess.run(['gcc', '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1', '-o', str(folder / 'libcuda.so.1'),
                    str(folder / 'cuda.c')], check=True)
    return folder / 'libcuda.so.1'


def run(program, **environment):
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True,
                          text=True, env=dict(os.environ, **environment))


def test_every_symbol_is_found_mxnet_computes_and_a_gpu_is_refused_in_a_sentence(stand_in):
    done = run(PROGRAM, STAND_IN=str(stand_in), LD_BIND_NOW='1')    # every symbol is looked up when a library is loaded
    assert done.returncode == 0, done.stderr
    counts, error = done.stdout.splitlines()
    assert counts == '%d 0 4.0' % len(_compat.CUDA_LIBRARIES)
    assert error.startswith('gpus: there is no GPU 0 for MXNet here (it finds 0')


@pytest.mark.skipif(subprocess.call([sys.executable, '-c', 'import ctypes; ctypes.CDLL("libcuda.so.1")'],
                                    stderr=subprocess.DEVNULL) == 0, reason="NVIDIA's driver is here")
def test_without_the_driver_its_library_is_named():
    done = run('from rfcn import Detector')
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "MXNetMissing: mxnet-cu112 needs the library libcuda.so.1, which is not here; it comes with NVIDIA's driver. "
        "To compute on the CPU: make build MXNET=mxnet")


def test_all_libraries_that_libmxnet_needs_are_in_the_packages():
    folder = metadata.distribution(_compat.CUDA_PACKAGE).locate_file('mxnet')
    listed = subprocess.run(['ldd', str(folder / 'libmxnet.so')], stdout=subprocess.PIPE, text=True)
    absent = {line.split()[0] for line in listed.stdout.splitlines() if 'not found' in line}
    assert absent - {'libcuda.so.1'} <= {path.rpartition('/')[2] for path in _compat.CUDA_LIBRARIES}
