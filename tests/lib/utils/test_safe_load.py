"""Pickles and archives of arrays from elsewhere."""
import codecs
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from lib.dataset.proposals import read_npz
from lib.errors import DatasetError
from lib.utils.safe_load import load_pickle


def written(tmp_path, data, name='a.pkl'):
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_lists_numbers_texts_and_arrays_come_back(tmp_path, protocol):
    content = {'a': [1, 2.5, 'text', None, True, (3,)], 'b': np.arange(6, dtype='>f4').reshape(2, 3).T,
               'empty': np.zeros((0, 5)),
               'c': np.float32(1.5), 'd': np.array(['x', 'yz']), 'e': np.array([True, False]), 'f': b'bytes'}
    found = load_pickle(written(tmp_path, pickle.dumps(content, protocol)))
    assert list(found) == list(content) and found['a'] == content['a'] and found['c'] == 1.5 and found['f'] == b'bytes'
    for name in ('b', 'empty', 'd', 'e'):
        np.testing.assert_array_equal(found[name], content[name])
        assert found[name].dtype.newbyteorder('=') == content[name].dtype.newbyteorder('=') and isinstance(found[name],
                                                                                                           np.ndarray)


def test_what_python_2_wrote_is_read(tmp_path):
    # pickle.dumps([numpy.array([1., 2.], 'f4')], 2) of Python 2: the content is a text of latin1 bytes.
    data = (b'\x80\x02]cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85'
            b'cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
            b'\x89U\x08\x00\x00\x80?\x00\x00\x00@tba.')
    (array,) = load_pickle(written(tmp_path, data))
    assert array.tolist() == [1, 2] and array.dtype == np.float32


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


HUGE = 2 ** 40


@pytest.mark.parametrize('content', [
    Evil(os.system, ('touch hacked',)), Evil(eval, ('1',)), Evil(np.ndarray, ((HUGE,), 'O')), Evil(np.dtype, ('O',)),
    np.array([object()]), Evil(np.load, ('x.npy',)), Evil(np.frombuffer, (b'', 'f4')),
    Evil(codecs.encode, ('a', 'rot13'))],
    ids=['system', 'eval', 'huge array', 'dtype of objects', 'array of objects', 'load', 'frombuffer', 'encoding'])
def test_what_would_run_code_or_ask_for_memory_is_refused(tmp_path, content):
    data = pickle.dumps(content, 2)
    with pytest.raises(DatasetError, match=r'a\.pkl: not a pickle that can be read'):
        load_pickle(written(tmp_path, data))
    assert not os.path.exists('hacked')


def test_ten_bytes_that_ask_for_megabytes_get_none(tmp_path):
    # An empty list, stored under the number 2 ** 22 of the notes: the reader in C makes room for as many.
    tracemalloc.start()
    assert load_pickle(written(tmp_path, b'\x80\x02]r' + (2 ** 22).to_bytes(4, 'little') + b'.')) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 ** 6


def doubled(times):
    value = [1.0]
    for _ in range(times):
        value = [value, value]
    return value


def within_itself():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize('content', [doubled(26), [np.zeros(2 ** 18)] * 80, within_itself()],
                         ids=['doubled', 'shared array', 'within itself'])
def test_a_small_pickle_that_stands_for_gigabytes_by_references_is_refused(tmp_path, content):
    with pytest.raises(DatasetError, match=r'a\.pkl: .*it refers to its own parts so often'):
        load_pickle(written(tmp_path, pickle.dumps(content)))


def test_one_empty_array_for_all_images_is_read(tmp_path):
    assert len(load_pickle(written(tmp_path, pickle.dumps([np.zeros((0, 5))] * 5000)))) == 5000


@pytest.mark.parametrize('opcode', ['BINBYTES8', 'BINUNICODE8', 'BYTEARRAY8', 'FRAME'])
def test_a_pickle_gets_no_more_memory_than_it_has_bytes(tmp_path, opcode):
    # It announces 2 ** 31 bytes and has three.
    data = b'\x80\x05' + getattr(pickle, opcode) + (2 ** 31).to_bytes(8, 'little') + b'abc'
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r'a\.pkl: not a pickle that can be read'):
        load_pickle(written(tmp_path, data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 ** 6


@pytest.mark.parametrize('protocol', range(5, pickle.HIGHEST_PROTOCOL + 1))
def test_a_byte_array_comes_back(tmp_path, protocol):
    for content in (bytearray(b'abc'), bytearray(), bytearray(10 ** 5)):
        assert load_pickle(written(tmp_path, pickle.dumps([content], protocol))) == [content]


@pytest.mark.parametrize('shape', [(HUGE,), (3,), (-2,), (1, 2, 2)])
def test_an_array_whose_shape_contradicts_its_bytes_is_refused(tmp_path, shape):
    data = pickle.dumps(np.arange(2, dtype='f4'), 2)
    state = pickle.dumps(shape, 2)[2:-1].replace(b'q\x00', b'')
    position = data.index(b'K\x02\x85')
    with pytest.raises(DatasetError, match='not a pickle that can be read'):
        load_pickle(written(tmp_path, data[:position] + state + data[position + 3:]))


def test_arrays_of_an_archive_are_read_and_one_that_would_grow_too_large_is_not(tmp_path):
    path = str(tmp_path / 'a.npz')
    np.savez_compressed(path, a=np.arange(3), b=np.zeros(10 ** 6))
    assert read_npz(path, ['a'])[0].tolist() == [0, 1, 2]
    with pytest.raises(DatasetError,
                       match=r'a\.npz: not an \.npz file .*it would unpack to 800\d* bytes, more than 9'):
        read_npz(path, ['a'], most=999)
    for names, message in ((['c'], 'c is not a file in the archive'), (['a', 'c'], 'plain arrays a, c')):
        with pytest.raises(DatasetError, match=message):
            read_npz(path, names)


def test_what_is_no_array_in_an_archive_is_refused(tmp_path):
    with zipfile.ZipFile(str(tmp_path / 'a.npz'), 'w') as archive:
        archive.writestr('a.npy', b'a text')
    with pytest.raises(DatasetError, match=r'a\.npz: not an \.npz file .*not all of them are arrays'):
        read_npz(str(tmp_path / 'a.npz'), ['a'])


def test_objects_in_an_archive_are_refused(tmp_path):
    np.savez(str(tmp_path / 'a.npz'), a=np.array([{}], dtype=object))
    with pytest.raises(DatasetError, match='Object arrays cannot be loaded'):
        read_npz(str(tmp_path / 'a.npz'), ['a'])
    with zipfile.ZipFile(str(tmp_path / 'b.npz'), 'w') as archive:
        archive.writestr('a.npy', b'\x93NUMPY\x01\x00\x04\x00((((')
    with pytest.raises(DatasetError, match=r'b\.npz: '):
        read_npz(str(tmp_path / 'b.npz'), ['a'])
