"""MXNet's format of named arrays, checked before MXNet reads it: on damaged bytes its own reader may ask for terabytes
or crash.

    list     uint64 0x112, uint64 0, uint64 number of arrays, the arrays, uint64 number of names, the names
    name     uint64 length, bytes
    array    uint32 0xF993FAC9, int32 storage (0: dense), shape of int64, device, type, values    since MXNet 1.0
             uint32 0xF993FAC8, shape of int64, device, type, values                              MXNet 0.11
             shape of uint32, device, type, values                                                before
    shape    uint32 number of dimensions, the dimensions
    device   int32 kind, int32 number;    type: int32

All numbers are little-endian.
"""
from __future__ import annotations

import os
import struct
from collections import namedtuple
from typing import Sequence

import numpy as np

from lib.errors import CheckpointError
from lib.utils.limits import open_input

LIST_MAGIC, ARRAY_MAGIC, ARRAY_MAGIC_V1 = 0x112, 0xF993FAC9, 0xF993FAC8
DENSE = 0
BYTES_OF_TYPE = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1}      # float32, 64, 16, uint8, int32, 8, 64, bool
UINT8 = 3
DEVICES = (1, 2, 3, 5)                  # CPU, GPU, pinned, shared
MAX_DIMENSIONS = 32
MAX_NAME = 1024                         # bytes
MIN_ARRAY = 4 + 4 + 8 + 4               # bytes of an array of no values: as many arrays as the file is long cannot be


_Span = namedtuple('_Span', 'start size type')  # of an array's values: bytes, and MXNet's number of the type


class _Reader:
    """Reads numbers from a file and never beyond its end."""

    def __init__(self, file, size):
        self.file = file
        self.size = size

    def numbers(self, layout):
        data = self.bytes(struct.calcsize('<' + layout))
        return struct.unpack('<' + layout, data)

    def number(self, layout):
        return self.numbers(layout)[0]

    def bytes(self, count):
        self.require(count)
        return self.file.read(count)

    def skip(self, count):
        self.require(count)
        self.file.seek(count, os.SEEK_CUR)

    def require(self, count):
        rest = self.size - self.file.tell()
        if count > rest:
            raise ValueError('it is cut off: %d bytes expected at byte %d, %d are there'
                             % (count, self.file.tell(), rest))


def check_params_file(path: str) -> None:
    """Walk through a file of named arrays without reading their values.

    Raises:
        CheckpointError: it is no such file, or cut off, or its counts and lengths contradict its size, or the arrays
            have no names.
    """
    with open_input(path) as file:
        _spans(file, path)


def read_bytes(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that are in a file and hold bytes: name -> uint8 array. The others are not read.

    Raises:
        CheckpointError: as `check_params_file`.
    """
    with open_input(path) as file:
        spans = _spans(file, path)
        found = {name: spans[name] for name in names if name in spans and spans[name].type == UINT8}
        arrays = {}
        for name, span in found.items():
            file.seek(span.start)
            arrays[name] = np.frombuffer(file.read(span.size), dtype=np.uint8)
        return arrays


def _spans(file, path):
    """Name -> _Span of the arrays in an open file."""
    try:
        spans = _walk(_Reader(file, os.fstat(file.fileno()).st_size))
    except ValueError as error:
        raise CheckpointError('%s is damaged or is no MXNet parameter file: %s. Fetch it again'
                              % (path, error)) from None
    if not spans:
        raise CheckpointError('%s holds arrays without names; a checkpoint has names' % path)
    return spans


def _walk(reader):
    """Name -> _Span of the arrays; none where they have no names."""
    magic, _ = reader.numbers('QQ')
    if magic != LIST_MAGIC:
        raise ValueError('it begins with %#x, not with %#x' % (magic, LIST_MAGIC))
    count = reader.number('Q')
    reader.require(count * MIN_ARRAY)
    spans = [_walk_array(reader, number) for number in range(count)]
    named = reader.number('Q')
    if named not in (0, count):
        raise ValueError('%d names for %d arrays' % (named, count))
    names = [_read_name(reader, number) for number in range(named)]
    if len(set(names)) < len(names):
        raise ValueError('two arrays have the same name')
    if reader.file.tell() != reader.size:
        raise ValueError('%d bytes follow its end' % (reader.size - reader.file.tell()))
    return dict(zip(names, spans))


def _walk_array(reader, number):
    """The _Span of an array's values, which are passed over."""
    magic = reader.number('I')
    if magic == ARRAY_MAGIC:
        storage = reader.number('i')
        if storage != DENSE:
            raise ValueError('array %d is not dense (storage %d)' % (number, storage))
    dimensions, kind = (magic, 'I') if magic not in (ARRAY_MAGIC, ARRAY_MAGIC_V1) else (reader.number('I'), 'q')
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError('array %d has %d dimensions' % (number, dimensions))
    shape = reader.numbers('%d%s' % (dimensions, kind))
    device, _, value_type = reader.numbers('iii')
    if min(shape) < 1 or device not in DEVICES or value_type not in BYTES_OF_TYPE:
        raise ValueError('array %d has shape %s, device %d, type %d' % (number, shape, device, value_type))
    size = BYTES_OF_TYPE[value_type]
    for side in shape:
        size *= side
    span = _Span(reader.file.tell(), size, value_type)
    reader.skip(size)
    return span


def _read_name(reader, number):
    length = reader.number('Q')
    if length > MAX_NAME:
        raise ValueError('the name of array %d has %d bytes' % (number, length))
    name = reader.bytes(length)
    if b'\0' in name:
        raise ValueError('the name of array %d holds a zero byte' % number)
    return name.decode('utf-8')
