"""Cell arrays from MATLAB's files."""
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from lib.dataset import mat_file
from lib.errors import DatasetError

# SciPy brings files that MATLAB 5 to 7.4 wrote, on machines of both byte orders.
OF_MATLAB = Path(scipy.io.__file__).parent / 'matlab' / 'tests' / 'data'
CELLS = [np.arange(8, dtype=np.uint16).reshape(2, 4), np.zeros((0, 4)), np.array([[0.5, -1, 1e9]])]


def cell_array(items):
    array = np.empty((len(items), 1), dtype=object)
    array[:, 0] = items
    return array


def written(tmp_path, content, **options):
    scipy.io.savemat(str(tmp_path / 'a.mat'), content, **options)
    return str(tmp_path / 'a.mat')


@pytest.mark.parametrize('compressed', [False, True])
def test_arrays_and_texts_come_back_and_other_variables_are_passed_over(tmp_path, compressed):
    content = {'settings': {'a': 1}, 'boxes': cell_array(CELLS), 'names': cell_array(['a', 'é 日', '']), 'x': np.eye(2)}
    cells, found = mat_file.load(written(tmp_path, content, do_compression=compressed), ['boxes', 'names', 'bbs'])
    assert sorted(found) == ['boxes', 'names', 'settings', 'x'] and sorted(cells) == ['boxes', 'names']
    for array, expected in zip(cells['boxes'], CELLS):
        np.testing.assert_array_equal(array, expected)
    assert cells['names'] == ['a', 'é 日', '']


@pytest.mark.parametrize('path', [path for pattern in ('testcell_*.mat', 'testemptycell_*.mat', '*_endian.mat')
                                  for path in sorted(OF_MATLAB.glob(pattern))], ids=lambda path: path.stem)
def test_files_of_matlab_are_read_as_scipy_reads_them(path):
    expected = {name: array for name, array in scipy.io.loadmat(str(path)).items()
                if isinstance(array, np.ndarray) and array.dtype == object}
    cells, _ = mat_file.load(str(path), list(expected))
    for name, array in expected.items():
        found = np.empty(array.size, dtype=object)
        found[:] = cells[name]
        assert len(cells[name]) == array.size
        for ours, theirs in zip(cells[name], array.ravel(order='F')):
            assert theirs.tolist() == ([ours] if isinstance(ours, str) else ours.tolist())


def variable(*elements):
    """A file of one variable: elements of (type, content)."""
    content = b''.join(struct.pack('<II', kind, len(data)) + data + bytes(-len(data) % 8) for kind, data in elements)
    return bytes(124) + b'\0\1IM' + struct.pack('<II', 14, len(content)) + content


def head(kind, *shape):
    return ((6, struct.pack('<II', kind, 0)), (5, struct.pack('<%di' % len(shape), *shape)), (1, b'boxes'))


@pytest.mark.parametrize('data, message', [
    (b'', 'not have the header'), (bytes(500), 'not have the header'),
    (variable(*head(1, 1, 1)), 'a cell array expected'),
    (variable(*head(1, 2 ** 30, 2 ** 30)), 'a cell array expected'), (variable(*head(1, -1, 1)), r'shape \[-1  1\]'),
    (variable(*head(1, 0, 0))[:-4], 'it is cut off'), (variable(*head(6, 1, 1), (9, bytes(8))), 'found one of class 6'),
    (variable(*head(1, 1, 1), (9, bytes(8))), 'a cell expected'), (variable((6, b''), (5, b''), (1, b'')), 'flags'),
    (variable((99, bytes(8))), 'numbers expected, found an element of type 99'),
    (variable()[:128] + struct.pack('<II', 9, 0), 'a variable expected, found an element of type 9'),
    (variable()[:128] + struct.pack('<II', 5 << 16 | 1, 0) + bytes(8), 'it is cut off: 5 bytes'),
    (variable(), 'it is cut off'),
    (variable(head(1)[0], (9, struct.pack('<2d', 1, 1)), (1, b'boxes')), r'flags \[1 0\] and shape \[1\. 1\.\]'),
    (variable(*head(1, 1, 1), (14, variable(*head(4, 1, 1), (9, bytes(8)))[136:])), 'found characters of type 9')])
def test_damaged_files_are_refused(tmp_path, data, message):
    (tmp_path / 'a.mat').write_bytes(data)
    with pytest.raises(DatasetError, match=r'a\.mat: not a \.mat file that can be read \(.*%s' % message):
        mat_file.load(str(tmp_path / 'a.mat'), ['boxes'])


@pytest.mark.parametrize('cell', [1j * np.ones((1, 1)), np.array(['ab', 'cd']), cell_array([1]), {'a': 1}])
def test_cells_of_other_things_are_refused(tmp_path, cell):
    with pytest.raises(DatasetError, match='expected, found'):
        mat_file.load(written(tmp_path, {'boxes': cell_array([cell])}), ['boxes'])


def test_a_variable_that_would_grow_too_large_is_refused(tmp_path):
    data = zlib.compress(bytes(10 ** 6))
    (tmp_path / 'a.mat').write_bytes(variable()[:128] + struct.pack('<II', 15, len(data)) + data)
    with pytest.raises(DatasetError, match='a variable would unpack to more than 9999 bytes'):
        mat_file.load(str(tmp_path / 'a.mat'), ['boxes'], most=9999)
