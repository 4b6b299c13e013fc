"""MXNet 1.9.1 and GluonCV 0.10 on a NumPy newer than they are. Imported before either of them.

They use four names, such as np.bool, that NumPy 1.20 deprecates and 1.24 lacks. Each stood for Python's own type. Given
to NumPy here, they are found on every version and warn on none.
"""
import builtins

try:
    import numpy as np
except ImportError:  # data/fetch.py needs no package; whatever needs NumPy will say so itself
    np = None

if np is not None:
    for _name in ('bool', 'object', 'int', 'float'):
        vars(np).setdefault(_name, getattr(builtins, _name))
