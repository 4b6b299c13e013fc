"""Files of torch.save, read without PyTorch."""
import collections
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.importers.torch_file import load_torch


def arrays():
    base = np.arange(60, dtype=np.float32).reshape(10, 6)
    return collections.OrderedDict([('conv1.weight', np.random.RandomState(0).randn(2, 3, 7, 7).astype(np.float32)),
                                    ('scalar', np.array(7, np.float32)), ('empty', np.zeros((0, 3), np.float32)),
                                    ('transposed', base.T), ('view', base[2:5, ::2])])


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('wrap', [lambda tensors, nn: tensors, lambda tensors, nn: {'epoch': 3, 'state_dict': tensors}],
                         ids=['state dict', 'checkpoint'])
def test_tensors_views_and_transposed_ones_are_read(write_torch, tmp_path, legacy, wrap):
    write_torch(tmp_path / 'a.pth', arrays(), legacy, wrap)
    loaded = load_torch(str(tmp_path / 'a.pth'))
    assert list(loaded) == list(arrays())
    for name, expected in arrays().items():
        np.testing.assert_array_equal(loaded[name], expected)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_pickled_model_is_refused_with_what_to_do(write_torch, tmp_path, legacy):
    write_torch(tmp_path / 'a.pth', {}, legacy, lambda tensors, nn: {'model': nn.Linear()})
    with pytest.raises(CheckpointError, match=r'a\.pth: .*it holds torch\.nn\.Linear.*save model\.state_dict\(\)'):
        load_torch(str(tmp_path / 'a.pth'))


class Evil:
    def __reduce__(self):
        return os.mkdir, ('evil',)


def test_code_in_a_pickle_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pth').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match='it holds (posix|nt|os).mkdir'):
        load_torch('a.pth')
    assert not (tmp_path / 'evil').exists()


@pytest.mark.parametrize('offset, strides', [(0, (4, 1)), (-1, (1, 1)), (9, (-1, -1)), (0, (4,))])
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(write_torch, tmp_path, offset, strides):
    def enlarge(tensors, nn):  # to 12 elements of 10
        rebuild, (storage, _, _, _) = tensors['w'].reduced[0], tensors['w'].reduced[1][:4]
        tensors['w'].reduced = rebuild, (storage, offset, (3, 4), strides, False, {})
        return tensors

    write_torch(tmp_path / 'a.pth', {'w': np.zeros(10, np.float32)}, wrap=enlarge)
    with pytest.raises(CheckpointError, match=r'shape \(3, 4\) does not fit its storage of 10 elements'):
        load_torch(str(tmp_path / 'a.pth'))


def reshaped(shape, strides):
    def change(tensors, nn):
        rebuild, (storage, offset) = tensors['w'].reduced[0], tensors['w'].reduced[1][:2]
        tensors['w'].reduced = rebuild, (storage, offset, shape, strides, False, {})
        return tensors
    return change


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('shape, message', [((10 ** 9, 10), 'its tensors would have 40000000000 bytes, more than 4'),
                                            ((-10 ** 9, 10), 'a tensor has the shape'),
                                            ((0, 10), None)])
def test_a_tensor_that_repeats_its_storage_a_billion_times_is_refused(write_torch, tmp_path, legacy, shape, message):
    write_torch(tmp_path / 'a.pth', {'w': np.zeros(10, np.float32)}, legacy, reshaped(shape, (0, 1)))
    if message is None:
        assert load_torch(str(tmp_path / 'a.pth'))['w'].shape == shape
        return
    with pytest.raises(CheckpointError, match=r'a\.pth: .*' + message):
        load_torch(str(tmp_path / 'a.pth'))


def test_a_packed_file_that_unpacks_to_far_more_is_refused(write_torch, tmp_path):
    write_torch(tmp_path / 'a.pth', {'w': np.zeros(10 ** 6, np.float32)})
    with zipfile.ZipFile(tmp_path / 'a.pth') as plain, \
            zipfile.ZipFile(tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r'b\.pth: .*its parts would have 4\d{6} bytes, more than 4 times'):
        load_torch(str(tmp_path / 'b.pth'))


def test_the_reader_in_c_that_makes_room_for_millions_of_notes_is_not_used(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'\x80\x02]r' + (2 ** 22).to_bytes(4, 'little') + b'.')
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r'a\.pth: not a state dict'):
        load_torch(str(tmp_path / 'a.pth'))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 ** 6


@pytest.mark.parametrize('legacy', [False, True])
def test_a_file_that_was_cut_off_is_refused(write_torch, tmp_path, legacy):
    path = tmp_path / 'a.pth'
    write_torch(path, arrays(), legacy)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match='not a state dict that can be read'):
        load_torch(str(path))


def test_a_file_of_a_big_endian_machine_is_refused(write_torch, tmp_path):
    write_torch(tmp_path / 'a.pth', arrays())
    with zipfile.ZipFile(tmp_path / 'a.pth') as little, zipfile.ZipFile(tmp_path / 'b.pth', 'w') as big:
        for name in little.namelist():
            big.writestr(name, 'big' if name.endswith('byteorder') else little.read(name))
    write_torch(tmp_path / 'c.pth', arrays(), legacy=True)
    data = (tmp_path / 'c.pth').read_bytes()
    place = data.index(b'\x88', data.index(b'little_endian'))       # True, which becomes False
    (tmp_path / 'c.pth').write_bytes(data[:place] + b'\x89' + data[place + 1:])
    for name in 'b.pth', 'c.pth':
        with pytest.raises(CheckpointError, match='written on a big-endian machine'):
            load_torch(str(tmp_path / name))


def test_a_file_without_the_magic_number_is_refused(write_torch, tmp_path):
    path = tmp_path / 'a.pth'
    write_torch(path, arrays(), legacy=True)
    path.write_bytes(path.read_bytes().replace(b'\x6c\xfc', b'\x6c\xfd', 1))
    with pytest.raises(CheckpointError, match='no magic number'):
        load_torch(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing.pth'):
        load_torch(str(tmp_path / 'nothing.pth'))
