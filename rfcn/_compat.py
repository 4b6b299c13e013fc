"""MXNet 1.9.1 and GluonCV 0.10 on a NumPy newer than they are, and what is said where MXNet is missing.

Imported before either of them. They use names that NumPy 1.18 to 2.4 removed. Given back to NumPy here where they are
absent, they are found on every version, and none of them warns. Nothing that NumPy has is replaced.
"""
import builtins
import contextlib

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


def _msort(a):
    """A copy of `a`, sorted along its first axis."""
    return np.sort(a, axis=0)


def _financial(name):
    def moved(*arguments, **keywords):
        raise NotImplementedError('NumPy has no %s any more: the package numpy-financial has it' % name)
    return moved


def give_back(namespace):
    """Add the names that are missing to NumPy's namespace, a dict."""
    names = {name: getattr(builtins, name) for name in ('bool', 'object', 'int', 'float')}
    names.update(SAME, msort=_msort)
    names.update((old, namespace[new]) for old, new in RENAMED.items() if new in namespace)
    names.update((name, _financial(name)) for name in FINANCIAL)
    for name, value in names.items():
        namespace.setdefault(name, value)


MXNET_NEEDS = ('requests', 'graphviz')      # beside NumPy, of which it asks for a version that it does not need


class MXNetMissing(UserError, ImportError):
    """MXNet is not installed, or a library that it needs is not here."""


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
        if error.name != 'mxnet':
            raise
        raise MXNetMissing('MXNet is not installed in this Python: call make build in the project and use its '
                           '.venv/bin/python, or pip install %s and then pip install --no-deps mxnet==1.9.1'
                           % ' '.join(MXNET_NEEDS)) from error
    except OSError as error:
        if not str(error).startswith('libcu'):
            raise
        library = str(error).partition(':')[0]
        source = "NVIDIA's driver" if library == 'libcuda.so.1' else 'pip install rfcn[mxnet-cu112]'
        raise MXNetMissing('mxnet-cu112 needs the library %s, which is not here; it comes with %s. To compute on the '
                           'CPU: make build MXNET=mxnet' % (library, source)) from error


if np is not None:
    give_back(vars(np))
