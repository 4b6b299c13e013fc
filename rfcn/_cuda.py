"""The CUDA libraries of the nvidia-*-cu11 packages, loaded for mxnet-cu112 before it. Imported before MXNet.

libmxnet.so asks the loader for them by name, and the loader does not look into site-packages. It takes a library that
is loaded already, though: so each is loaded here by its full path, those that others need first. What lies on the
loader's own path is not touched where the packages are absent. libcuda.so.1 comes with NVIDIA's driver.
"""
import ctypes
import importlib.util
from importlib import metadata
from pathlib import Path

PACKAGE = 'mxnet-cu112'
LIBRARIES = (
    'cuda_runtime/lib/libcudart.so.11.0',
    'cuda_nvrtc/lib/libnvrtc-builtins.so.11.8',
    'cuda_nvrtc/lib/libnvrtc.so.11.2',
    'cublas/lib/libcublasLt.so.11',
    'cublas/lib/libcublas.so.11',
    'cufft/lib/libcufft.so.10',
    'curand/lib/libcurand.so.10',
    'cusolver/lib/libcusolver.so.11',
    'cudnn/lib/libcudnn_ops_infer.so.8',
    'cudnn/lib/libcudnn_ops_train.so.8',
    'cudnn/lib/libcudnn_cnn_infer.so.8',
    'cudnn/lib/libcudnn_cnn_train.so.8',
    'cudnn/lib/libcudnn_adv_infer.so.8',
    'cudnn/lib/libcudnn_adv_train.so.8',
    'cudnn/lib/libcudnn.so.8',
    'nccl/lib/libnccl.so.2',
    'nvtx/lib/libnvToolsExt.so.1',
)


def is_installed(package=PACKAGE):
    """Whether pip knows the package here."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def folders():
    """Where the nvidia-*-cu11 packages have put their libraries."""
    found = importlib.util.find_spec('nvidia')
    return [Path(folder) for folder in (found and found.submodule_search_locations) or ()]


def load(roots):
    """Load those of LIBRARIES that lie in one of the folders. Returns the paths of what was loaded."""
    paths = [root / library for library in LIBRARIES for root in roots if (root / library).is_file()]
    for path in paths:
        ctypes.CDLL(str(path))
    return paths


LOADED = load(folders()) if is_installed() else []
