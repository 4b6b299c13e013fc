"""MXNet 1.9.1 and GluonCV 0.10 on a NumPy newer than they are. Imported before either of them.

They use names that NumPy 1.18 to 2.4 removed. Given back to NumPy here where they are absent, they are found on every
version, and none of them warns. Nothing that NumPy has is replaced.
"""
import builtins

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


if np is not None:
    give_back(vars(np))
