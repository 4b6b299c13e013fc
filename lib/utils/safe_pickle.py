"""Reads pickles of lists, numbers, texts and NumPy arrays, and of nothing else: a pickle from elsewhere can run any code."""
import pickle

from lib.errors import DatasetError

_ALLOWED = {('numpy.core.multiarray', '_reconstruct'), ('numpy.core.multiarray', 'scalar'), ('numpy', 'ndarray'),
            ('numpy', 'dtype'), ('numpy._core.multiarray', '_reconstruct'), ('numpy._core.multiarray', 'scalar'),
            ('_codecs', 'encode')}


def _no_bytes():
    """What protocol 2 writes for the content of an empty array: a call of bytes without arguments."""
    return b''


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if name == 'bytes' and module in ('__builtin__', 'builtins'):
            return _no_bytes
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError('it holds %s.%s; only lists, dicts, numbers, texts and arrays are read' % (module, name))
        return super(_Unpickler, self).find_class(module, name)


def load(path):
    """The content of a pickle, Python 2's included.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is damaged or holds objects of other classes.
    """
    with open(path, 'rb') as file:
        try:
            return _Unpickler(file, encoding='latin1').load()
        except Exception as error:  # a damaged pickle raises nearly anything
            raise DatasetError('%s: not a pickle that can be read (%s)' % (path, error)) from None
