"""What MXNet 1.9.1 and GluonCV 0.10 need before they are imported, and what is said where MXNet is missing.

Names of NumPy: both use some that NumPy 1.18 to 2.4 removed. This module gives them back to NumPy where they are
absent. So every version has them, and none of them warns. Nothing that NumPy has is replaced.

CUDA libraries of the nvidia-*-cu11 packages, for mxnet-cu112: libmxnet.so asks the loader for them by name, and the
loader does not look into site-packages. It takes a library that is loaded already, though: so each is loaded here by
its full path, those that others need first. What lies on the loader's own path is not touched where the packages are
absent. libcuda.so.1 comes with NVIDIA's driver.
"""
import builtins
import contextlib
import ctypes
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

from lib.errors import UserError

try:
    import numpy as np
except ImportError:  # `rfcn fetch` needs no package; whatever needs NumPy will say so itself
    np = None

# Removed name -> what it stood for.
SAME = {'PZERO': 0.0, 'NZERO': -0.0, 'PINF': float('inf'), 'NINF': -float('inf'), 'Inf': float('inf'),
        'NAN': float('nan'), 'NaN': float('nan')}
RENAMED = {'float_': 'float64', 'complex_': 'complex128', 'unicode_': 'str_', 'string_': 'bytes_', 'product': 'prod',
           'cumproduct': 'cumprod', 'sometrue': 'any', 'alltrue': 'all', 'in1d': 'isin', 'row_stack': 'vstack',
           'round_': 'round', 'trapz': 'trapezoid'}
# MXNet takes them into `mxnet.numpy` and calls none.
FINANCIAL = ('fv', 'ipmt', 'irr', 'mirr', 'nper', 'npv', 'pmt', 'ppmt', 'pv', 'rate')
MXNET_NEEDS = ('requests', 'graphviz')      # beside NumPy, of which it asks for a version that it does not need

# What the commands import; `rfcn fetch` alone needs none of them.
PACKAGES = ('numpy', 'scipy', 'cv2', 'PIL', 'pycocotools', 'matplotlib', 'easydict', 'yaml', 'defusedxml', 'tqdm',
            'mxnet')
MAKE_BUILD = 'call make build in the project and use its .venv/bin/python'
# What packages say that were compiled for another NumPy than the one that is here.
OTHER_NUMPY = ('numpy.dtype size changed', 'numpy.core.multiarray failed to import')

CUDA_PACKAGE = 'mxnet-cu112'
CUDA_DRIVER = 'libcuda.so.1'
CUDA_LIBRARIES = (
    'cuda_runtime/lib/libcudart.so.11.0', 'cuda_nvrtc/lib/libnvrtc-builtins.so.11.8', 'cuda_nvrtc/lib/libnvrtc.so.11.2',
    'cublas/lib/libcublasLt.so.11', 'cublas/lib/libcublas.so.11', 'cufft/lib/libcufft.so.10',
    'curand/lib/libcurand.so.10', 'cusolver/lib/libcusolver.so.11', 'cudnn/lib/libcudnn_ops_infer.so.8',
    'cudnn/lib/libcudnn_ops_train.so.8', 'cudnn/lib/libcudnn_cnn_infer.so.8', 'cudnn/lib/libcudnn_cnn_train.so.8',
    'cudnn/lib/libcudnn_adv_infer.so.8', 'cudnn/lib/libcudnn_adv_train.so.8', 'cudnn/lib/libcudnn.so.8',
    'nccl/lib/libnccl.so.2', 'nvtx/lib/libnvToolsExt.so.1',
)


def _msort(a):
    """A copy of `a`, sorted along its first axis."""
    return np.sort(a, axis=0)


def _financial(name):
    def moved(*arguments, **keywords):
        raise NotImplementedError('NumPy has no %s any more: the package numpy-financial has it' % name)
    return moved


def add_removed_names(namespace):
    """Give NumPy's namespace, a dict, the names back that it has not any more."""
    names = {name: getattr(builtins, name) for name in ('bool', 'object', 'int', 'float')}
    names.update(SAME, msort=_msort)
    names.update((old, namespace[new]) for old, new in RENAMED.items() if new in namespace)
    names.update((name, _financial(name)) for name in FINANCIAL)
    for name, value in names.items():
        namespace.setdefault(name, value)


def check_packages():
    """End a script in one sentence where this Python lacks packages, before it imports them.

    Raises:
        SystemExit: with the sentence.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit('error: %s lacks the packages %s: %s' % (sys.executable, ', '.join(missing), MAKE_BUILD))


class MXNetMissing(UserError, ImportError):
    """MXNet or another package is not installed, or a library that it needs is not here."""


@contextlib.contextmanager
def needing_mxnet():
    """Around an import that needs MXNet.

    Raises:
        MXNetMissing: with what to do, in place of Python's and the loader's own words.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in MXNET_NEEDS:
            raise MXNetMissing('MXNet needs the package %s, which is not installed in this Python: pip install %s'
                               % (error.name, ' '.join(MXNET_NEEDS))) from error
        if error.name == 'mxnet':
            raise MXNetMissing('MXNet is not installed in this Python: %s, or pip install %s and then pip install '
                               '--no-deps mxnet==1.9.1' % (MAKE_BUILD, ' '.join(MXNET_NEEDS))) from error
        if error.name in PACKAGES:
            raise MXNetMissing('the package %s is not installed in this Python: %s'
                               % (error.name, MAKE_BUILD)) from error
        raise
    except (ImportError, ValueError) as error:
        if not any(words in str(error) for words in OTHER_NUMPY):
            raise
        raise MXNetMissing("this Python has NumPy %s, and packages that were made for another one. Did 'pip install' "
                           "of something else replace it? In the project's folder, with this Python: pip install "
                           '--constraint constraints.txt numpy' % np.__version__) from error
    except OSError as error:
        library = str(error).partition(':')[0]
        if library not in {CUDA_DRIVER, *(Path(path).name for path in CUDA_LIBRARIES)}:
            raise
        source = "NVIDIA's driver" if library == CUDA_DRIVER else 'make build MXNET=%s' % CUDA_PACKAGE
        raise MXNetMissing('mxnet-cu112 needs the library %s, which is not here; it comes with %s. To compute on the '
                           'CPU: make build MXNET=mxnet' % (library, source)) from error


def is_installed(package=CUDA_PACKAGE):
    """Whether pip knows the package here."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def cuda_folders():
    """Where the nvidia-*-cu11 packages have put their libraries."""
    found = importlib.util.find_spec('nvidia')
    return [Path(folder) for folder in (found and found.submodule_search_locations) or ()]


def load_cuda(roots):
    """Load those of CUDA_LIBRARIES that lie in one of the folders. Returns the paths of what was loaded."""
    paths = [root / library for library in CUDA_LIBRARIES for root in roots if (root / library).is_file()]
    for path in paths:
        ctypes.CDLL(str(path))
    return paths


if np is not None:
    add_removed_names(vars(np))
CUDA_LOADED = load_cuda(cuda_folders()) if is_installed() else []
