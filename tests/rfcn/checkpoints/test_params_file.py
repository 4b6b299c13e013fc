"""Parameter files are checked before MXNet reads them."""
import struct

import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.checkpoints.checkpoint import load_arrays
from rfcn.checkpoints.params_file import check_params_file


def array_bytes(shape=(2, 1), kind='q', head=struct.pack('<Ii', 0xF993FAC9, 0), device=1, value_type=0,
                values=b'\0\0\x40\x40\0\0\x80\x40'):
    """An array as MXNet writes it; by default float32 [[3], [4]]."""
    return head + struct.pack('<I%d%s' % (len(shape), kind), len(shape), *shape) + struct.pack('<iii', device, 0,
                                                                                               value_type) + values


def file_bytes(*arrays, names=(b'arg:a',), magic=0x112, count=None, named=None):
    """A list of arrays as MXNet writes it."""
    tail = b''.join(struct.pack('<Q', len(name)) + name for name in names)
    head = struct.pack('<QQQ', magic, 0, len(arrays) if count is None else count)
    return head + b''.join(arrays) + struct.pack('<Q', len(names) if named is None else named) + tail


def written(tmp_path, data):
    (tmp_path / 'a.params').write_bytes(data)
    return str(tmp_path / 'a.params')


@pytest.mark.parametrize('data', [
    pytest.param(file_bytes(array_bytes()), id='MXNet 1.9'),
    pytest.param(file_bytes(array_bytes(device=2)), id='from a GPU'),
    pytest.param(file_bytes(array_bytes(head=struct.pack('<I', 0xF993FAC8))), id='MXNet 0.11'),
    pytest.param(file_bytes(array_bytes(head=b'', kind='I')), id='before MXNet 0.11')])
def test_files_of_all_versions_of_mxnet_pass_and_are_read(tmp_path, data):
    (name, value), = load_arrays(written(tmp_path, data)).items()
    assert name == 'arg:a' and value.asnumpy().tolist() == [[3], [4]]


def test_what_mxnet_writes_passes_in_every_type(tmp_path):
    arrays = {'arg:' + kind: mx.nd.array(np.arange(6).reshape(2, 3), dtype=kind)
              for kind in ('float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64', 'bool')}
    path = str(tmp_path / 'a.params')
    mx.nd.save(path, arrays)
    check_params_file(path)
    assert set(load_arrays(path)) == set(arrays)


HUGE = 2 ** 62


@pytest.mark.parametrize('data, message', [
    (b'', 'cut off: 16 bytes expected at byte 0, 0 are there'),
    (file_bytes(array_bytes(), magic=0x113), 'it begins with 0x113, not with 0x112'),
    (file_bytes(array_bytes(), count=HUGE), 'cut off'),
    (file_bytes(array_bytes(shape=(HUGE, HUGE, HUGE, HUGE))), 'cut off'),
    (file_bytes(array_bytes(shape=(-2, 1))), r'array 0 has shape \(-2, 1\)'),
    (file_bytes(array_bytes(shape=(0, 1))), r'array 0 has shape \(0, 1\)'),
    (file_bytes(array_bytes(shape=())), 'array 0 has 0 dimensions'),
    (file_bytes(array_bytes(head=struct.pack('<I', 99), kind='I')), 'array 0 has 99 dimensions'),
    (file_bytes(array_bytes(head=struct.pack('<Ii', 0xF993FAC9, 1))), r'array 0 is not dense \(storage 1\)'),
    (file_bytes(array_bytes(value_type=50)), 'device 1, type 50'),
    (file_bytes(array_bytes(device=77)), 'device 77, type 0'),
    (file_bytes(array_bytes(), named=HUGE), '%d names for 1 arrays' % HUGE),
    (file_bytes(array_bytes(), array_bytes()), '1 names for 2 arrays'),
    (file_bytes(array_bytes(), array_bytes(), names=(b'arg:a', b'arg:a')), 'two arrays have the same name'),
    (file_bytes(array_bytes(), names=(b'a' * 2000,)), 'the name of array 0 has 2000 bytes'),
    (file_bytes(array_bytes(), names=(b'a\0b',)), 'the name of array 0 holds a zero byte'),
    (file_bytes(array_bytes(), names=(b'\xff',)), "can't decode byte 0xff"),
    (file_bytes(array_bytes()) + b'more', '4 bytes follow its end'),
    (file_bytes(array_bytes(), names=()), 'holds arrays without names'),
    (file_bytes(names=()), 'holds arrays without names')])
def test_what_contradicts_the_size_of_the_file_or_the_format_is_refused(tmp_path, data, message):
    with pytest.raises(CheckpointError, match='a.params .*' + message):
        load_arrays(written(tmp_path, data))


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    data = file_bytes(array_bytes(), array_bytes(), names=(b'arg:a', b'aux:b'))
    check_params_file(written(tmp_path, data))
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            check_params_file(written(tmp_path, data[:length]))
