"""Reads PyTorch's files of tensors without PyTorch, and without running what such a file may hold.

A .pth file is a pickle of tensors that point into storages. Since PyTorch 1.6 both lie in a zip file (data.pkl, data/0,
...); before, the pickle stood among others at the beginning of a file, and the storages followed it.
"""
import collections
import io
import math
import mmap
import os
import pickle
import zipfile

import numpy as np

from lib.errors import CheckpointError
from lib.utils.limits import MAX_TENSOR_TIMES, open_input
from lib.utils.safe_load import PlainUnpickler

_MAGIC = 0x1950a86a20f9469cfc6c
_DTYPES = {'FloatStorage': '<f4', 'DoubleStorage': '<f8', 'HalfStorage': '<f2', 'LongStorage': '<i8',
           'IntStorage': '<i4', 'ShortStorage': '<i2', 'CharStorage': 'i1', 'ByteStorage': 'u1', 'BoolStorage': '?'}

Storage = collections.namedtuple('Storage', 'dtype key length')
Tensor = collections.namedtuple('Tensor', 'storage offset shape strides')


class _Unpickler(PlainUnpickler):
    """Builds dicts and descriptions of tensors, and refuses everything else."""

    def find_class(self, module, name):
        if (module, name) == ('collections', 'OrderedDict'):
            return collections.OrderedDict
        if module == 'torch' and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return lambda storage, offset, shape, strides, *rest: Tensor(storage, offset, tuple(shape), tuple(strides))
        if (module, name) == ('torch._utils', '_rebuild_parameter'):
            return lambda tensor, *rest: tensor
        raise pickle.UnpicklingError('it holds %s.%s, and only tensors of numbers are read; save model.state_dict() '
                                     'instead of a model' % (module, name))

    def persistent_load(self, identifier):
        kind, dtype, key, _, length = identifier[:5]
        if kind != 'storage' or any(part is not None for part in identifier[5:]):
            raise pickle.UnpicklingError('it refers to a %s, and only to storages it may' % kind)
        return Storage(dtype, key, length)


def load_torch(path):
    """The tensors of a state dict, or of the one that a checkpoint holds as 'state_dict' or 'model'.

    Returns:
        dict of name -> array.
    Raises:
        FileNotFoundError: no such file.
        CheckpointError: damaged, no state dict, or other objects in it.
    """
    with open_input(path) as file:
        try:
            tensors, storages = (_read_zip if zipfile.is_zipfile(file) else _read_legacy)(file)
            for key in ('state_dict', 'model'):
                tensors = tensors.get(key, tensors) if isinstance(tensors, dict) else tensors
            tensors = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
            _check_size('its tensors', sum(_bytes_of(tensor) for tensor in tensors.values()), file)
            return {name: _array(tensor, storages) for name, tensor in tensors.items()}
        except Exception as error:  # a damaged pickle raises nearly anything
            raise CheckpointError('%s: not a state dict that can be read (%s); expected what '
                                  'torch.save(model.state_dict(), path) writes. Is the file whole?'
                                  % (path, error)) from None


def _read_zip(file):
    """The unpickled object, and a function Storage -> its bytes."""
    archive = zipfile.ZipFile(file)
    _check_size('its parts', sum(info.file_size for info in archive.infolist()), file)
    root, = [name[:-len('data.pkl')] for name in archive.namelist() if name.endswith('/data.pkl')]
    if root + 'byteorder' in archive.namelist() and archive.read(root + 'byteorder') != b'little':
        raise ValueError('written on a big-endian machine')
    contents = {name: archive.read(name) for name in archive.namelist() if name.startswith(root + 'data/')}
    content = archive.read(root + 'data.pkl')
    return (_Unpickler(io.BytesIO(content), encoding='utf-8').load_plain(len(content)),
            lambda storage: contents['%sdata/%s' % (root, storage.key)])


def _read_legacy(file):
    """The same of a file from before PyTorch 1.6: magic number, version, machine, object, storages' keys, storages."""
    file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)     # a read of a file reserves what is announced
    magic, _, machine, tensors, keys = [_Unpickler(file, encoding='utf-8').load_plain(len(file)) for _ in range(5)]
    if magic != _MAGIC or not machine['little_endian']:
        raise ValueError('no magic number, or written on a big-endian machine')
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in _all_tensors(tensors)}
    contents = {}
    for key in keys:
        length = int(np.frombuffer(file.read(8), '<i8')[0])
        contents[key] = file.read(length * dtypes[key].itemsize)
    return tensors, lambda storage: contents[storage.key]


def _check_size(what, size, file):
    """Raise a ValueError where parts or tensors have far more bytes than the file."""
    most = MAX_TENSOR_TIMES * os.fstat(file.fileno()).st_size
    if size > most:
        raise ValueError('%s would have %d bytes, more than %d times those of the file'
                         % (what, size, MAX_TENSOR_TIMES))


def _bytes_of(tensor):
    if min(tensor.shape, default=0) < 0:
        raise ValueError('a tensor has the shape %s' % (tensor.shape,))
    return math.prod(tensor.shape) * tensor.storage.dtype.itemsize


def _all_tensors(value):
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value.values() for tensor in _all_tensors(item)] if isinstance(value, dict) else []


def _array(tensor, storages):
    """The elements that shape and strides choose from the storage."""
    flat = np.frombuffer(storages(tensor.storage), tensor.storage.dtype)
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides))
    if len(flat) != tensor.storage.length or tensor.offset < 0 or min(tensor.strides, default=0) < 0 \
            or len(tensor.shape) != len(tensor.strides) or (0 not in tensor.shape and last >= len(flat)):
        raise ValueError('a tensor of shape %s does not fit its storage of %d elements' % (tensor.shape, len(flat)))
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset:], tensor.shape, strides).copy()
