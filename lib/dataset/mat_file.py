"""Cell arrays of numbers and texts from MATLAB's files (save -v6 and -v7; "MAT-File Format", chapter 1).

    file      128 bytes: text, version, byte order; then elements: variables, each perhaps compressed
    element   uint32 type, uint32 length, content, zeros up to a multiple of 8 bytes
              up to four bytes: uint16 type and uint16 length in one uint32, content in four bytes
    variable  an element of elements: flags with the class, shape (int32), name, then numbers, or a cell's variables

SciPy reads them too, but damaged files overwrite its memory and crash it.
"""
from __future__ import annotations

import math
import os
import struct
import zlib
from typing import Collection

import numpy as np

from lib.errors import DatasetError
from lib.utils.limits import MAX_ARRAY_BYTES, open_input

HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_DTYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_TEXTS = {2: 'latin-1', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16', 18: 'utf-32'}     # of an array of characters
_CELL, _TEXT = 1, 4
_NUMBERS = range(6, 16)     # double, single, int8 ... uint64
_COMPLEX = 0x800            # of the flags; the class is in the lowest byte
_MIN_ELEMENT = 8            # bytes


class _Elements:
    """The elements of some bytes, one after the other."""

    def __init__(self, data, order):
        self.data = data
        self.order = order      # '<' or '>'
        self.position = 0

    def next(self):
        """Type and content of the next element."""
        if self.rest() < _MIN_ELEMENT:
            raise ValueError('it is cut off')
        kind, length = struct.unpack_from(self.order + 'II', self.data, self.position)
        start, padded = self.position + 8, length if kind == _COMPRESSED else length + -length % 8
        if kind >> 16:
            kind, length, start, padded = kind & 0xFFFF, kind >> 16, self.position + 4, 4
        if length > padded or start + length > len(self.data):
            raise ValueError('it is cut off: %d bytes expected at byte %d, %d are there'
                             % (length, start, len(self.data) - start))
        self.position = start + padded
        return kind, self.data[start:start + length]

    def rest(self):
        """The number of bytes that are left."""
        return len(self.data) - self.position

    def numbers(self):
        """The next element as an array."""
        kind, content = self.next()
        if kind not in _DTYPES:
            raise ValueError('numbers expected, found an element of type %d' % kind)
        return np.frombuffer(content, self.order + _DTYPES[kind])


def load(path: str | os.PathLike, names: Collection[str],
         most: int = MAX_ARRAY_BYTES) -> tuple[dict[str, list], list[str]]:
    """Read the cell arrays of the given names, if the file has them.

    Args:
        path: of the file.
        names: of variables.
        most: a variable that unpacks to more bytes is refused.
    Returns:
        cells: name -> list of arrays and texts, column after column.
        found: the names of all variables of the file.
    Raises:
        DatasetError: the file is damaged or of another kind, or one of the variables is not a cell array of numbers
            and texts.
    """
    with open_input(path) as file:
        data = file.read()
    try:
        return _load(data, names, most)
    except (ValueError, zlib.error) as error:
        raise DatasetError('%s: not a .mat file that can be read (%s). MATLAB writes one with save -v7'
                           % (path, error)) from None


def _load(data, names, most):
    order = {b'IM': '<', b'MI': '>'}.get(data[HEADER_BYTES - 2:HEADER_BYTES])
    if order is None:
        raise ValueError('it does not have the header of MATLAB 5 to 7')
    elements, cells, found = _Elements(memoryview(data)[HEADER_BYTES:], order), {}, []
    while elements.rest():
        kind, content = elements.next()
        if kind == _COMPRESSED:
            kind, content = _Elements(_decompress(content, most), order).next()
        if kind != _MATRIX:
            raise ValueError('a variable expected, found an element of type %d' % kind)
        flags, shape, name, variable = _head(content, order)
        found.append(name)
        if name in names:
            cells[name] = _cells(flags, shape, variable)
    return cells, found


def _decompress(content, most):
    stream = zlib.decompressobj()
    data = stream.decompress(content, most)
    if stream.unconsumed_tail:
        raise ValueError('a variable would unpack to more than %d bytes' % most)
    return memoryview(data)


def _head(content, order):
    """Flags, shape and name of a variable, and the elements that follow."""
    variable = _Elements(content, order)
    flags, shape, (_, name) = variable.numbers(), variable.numbers(), variable.next()
    if len(flags) != 2 or {flags.dtype.kind, shape.dtype.kind} - set('iu') or shape.min(initial=0) < 0:
        raise ValueError('a variable has flags %s and shape %s' % (flags, shape))
    return int(flags[0]), tuple(shape.tolist()), bytes(name).decode('latin-1'), variable


def _cells(flags, shape, variable):
    count = math.prod(shape)
    if flags & 0xFF != _CELL or count * _MIN_ELEMENT > variable.rest():
        raise ValueError('a cell array expected, found one of class %d and shape %s' % (flags & 0xFF, shape))
    return [_cell(*variable.next(), variable.order) for _ in range(count)]


def _cell(kind, content, order):
    """An array or a text."""
    if kind != _MATRIX:
        raise ValueError('a cell expected, found an element of type %d' % kind)
    if not len(content):
        return np.zeros((0, 0))         # how a cell is stored that was never assigned
    flags, shape, _, variable = _head(content, order)
    if flags & 0xFF == _TEXT:
        return _text(shape, *variable.next(), order)
    if flags & 0xFF not in _NUMBERS or flags & _COMPLEX:
        raise ValueError('a cell of numbers or text expected, found one of class %d' % (flags & 0xFF))
    return variable.numbers().reshape(shape, order='F')


def _text(shape, kind, content, order):
    if kind not in _TEXTS or shape[:-1] not in ((1,), (0,)):
        raise ValueError('a text expected, found characters of type %d and shape %s' % (kind, shape))
    encoding = _TEXTS[kind]
    return bytes(content).decode(encoding if kind in (2, 16) else encoding + {'<': '-le', '>': '-be'}[order])
