"""Pickles and YAML that are not trusted: plain values are read, and nothing else.

A pickle can run any code. This reader calls none of the functions that the pickle names, only those of this file, which
check their arguments. It is the standard library's reader in Python; the one in C takes gigabytes for ten bytes that
ask for it. YAML can name classes too, and a few lines of aliases can stand for billions of values.
"""
from __future__ import annotations

import math
import mmap
import os
import pickle
import re
import struct
from typing import Any

import numpy as np
import yaml

from lib.errors import DatasetError
from lib.utils.limits import MAX_SHARED_BYTES, MAX_SHARED_TIMES, open_input

_NUMBERS = re.compile(r'[biufSU][0-9]{1,4}|\?')
# Part of a message of PyYAML -> what to do.
_ADVICE = {'escape': '. In double quotes a backslash begins a code: write single quotes, or / in paths',
           r"character '\t'": '. Lines begin with blanks, not with tabs'}


class _Type:
    """Stands for a NumPy type while a pickle is read."""

    def __init__(self, name, align=False, copy=True):
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
            raise pickle.UnpicklingError('it holds an array of type %r; only those of numbers and texts are read'
                                         % (name,))
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array that refuses content of another length than its shape and type require."""

    def __setstate__(self, state):
        _, shape, kind, columns_first, data = state
        data = _as_bytes(data)
        length = kind.dtype.itemsize
        for side in shape:
            length *= side
        if length != len(data) or min(shape, default=0) < 0:
            raise pickle.UnpicklingError('an array of shape %r has %d bytes' % (shape, len(data)))
        super().__setstate__((1, shape, kind.dtype, bool(columns_first), data))


def _as_bytes(data):
    return data.encode('latin1') if isinstance(data, str) else bytes(memoryview(data))      # Python 2 wrote texts


def _new_array(_array, _shape, _kind):
    return np.ndarray.__new__(_Array, (0,), 'b')


def _from_buffer(data, kind, shape, order):
    """What protocol 5 writes for arrays."""
    return np.frombuffer(_as_bytes(data), kind.dtype).reshape(shape, order=order)


def _scalar(kind, data):
    return np.frombuffer(_as_bytes(data), kind.dtype, count=1)[0]


def _encode(text, encoding='latin1'):
    """What protocol 2 writes for bytes."""
    if encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError('it asks for the encoding %r' % (encoding,))
    return text.encode('latin1')


def _no_bytes():
    """What protocol 2 writes for the content of an empty array: a call of bytes without arguments."""
    return b''


_KNOWN = {('numpy', 'ndarray'): None, ('numpy', 'dtype'): _Type, ('_codecs', 'encode'): _encode,
          ('__builtin__', 'bytes'): _no_bytes,
          ('builtins', 'bytes'): _no_bytes}
for _package in ('numpy.core.', 'numpy._core.'):
    _KNOWN.update({(_package + 'multiarray', '_reconstruct'): _new_array, (_package + 'multiarray', 'scalar'): _scalar,
                   (_package + 'numeric', '_frombuffer'): _from_buffer})


def _written_out(value, known):
    """Bytes of a value in which each part counts as often as it is referred to; infinite for a list within itself.

    Args:
        known: id of a container -> its bytes; filled.
    """
    if not isinstance(value, (list, tuple, dict, set, frozenset)):
        return 8 + getattr(value, 'nbytes', 0)
    if id(value) not in known:
        known[id(value)] = math.inf
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 8 + sum(_written_out(part, known) for part in parts)
    return known[id(value)]


class PlainUnpickler(pickle._Unpickler):
    """Reads what `find_class` knows, and takes no more memory than the file has bytes."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def load_bytearray(self) -> None:
        """Check the length first: the standard library reserves as many bytes as the pickle announces."""
        length, = struct.unpack('<Q', self.read(8))
        data = bytearray(self.read(length))
        if len(data) < length:
            raise pickle.UnpicklingError('%d bytes are announced, %d are there' % (length, len(data)))
        self.append(data)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray

    def load_plain(self, size: int) -> Any:
        """`load` of a pickle in a file of `size` bytes; refuses one that stands for far more by references."""
        value = self.load()
        if _written_out(value, {}) > max(MAX_SHARED_BYTES, MAX_SHARED_TIMES * size):
            raise pickle.UnpicklingError('it refers to its own parts so often that it stands for far more than it has')
        return value


class _Unpickler(PlainUnpickler):
    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError('it holds %s.%s; only lists, dicts, numbers, texts and arrays are read'
                                         % (module, name))
        return _KNOWN[module, name]


def load_pickle(path: str | os.PathLike) -> Any:
    """The content of a pickle, also of one that Python 2 wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is damaged, or holds something other than plain values and arrays of numbers.
    """
    with open_input(path) as file:
        try:
            # Mapped: a read of a file would reserve all the bytes that the pickle announces.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Unpickler(content, encoding='latin1').load_plain(len(content))
        except Exception as error:  # a damaged pickle raises nearly anything
            raise DatasetError('%s: not a pickle that can be read (%s)' % (path, error)) from None


class _YamlLoader(yaml.SafeLoader):
    """A SafeLoader that refuses aliases, which can stand for billions of values, and keys that are given twice."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = 'aliases are not read: write *%s out' % alias.anchor
            raise yaml.MarkedYAMLError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, '%.80r is given twice' % key.value, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TextLoader(_YamlLoader):
    """The same without types: yes, 1.0, null and 2024-01-01 stay texts."""

    yaml_implicit_resolvers = {}


def parse_yaml(text: str, as_text: bool = False) -> Any:
    """The value of a YAML text: lists and mappings of texts, numbers and dates.

    The caller limits its length: 64 kB take up to a second.

    Args:
        text: YAML.
        as_text: whether all values stay texts.
    Raises:
        ValueError: 'line 3: not valid YAML: ...'.
    """
    try:
        return yaml.load(text, Loader=_TextLoader if as_text else _YamlLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 'line %d: ' % (mark.line + 1) if mark else ''
        problem = error.problem or error.context
        advice = next((advice for part, advice in _ADVICE.items() if part in problem), '')
        raise ValueError('%snot valid YAML: %s%s' % (line, problem, advice)) from error
    except Exception as error:  # odd scalars and depths: KeyError, AttributeError, RecursionError ...
        raise ValueError('not valid YAML: %.80s' % repr(error)) from error
