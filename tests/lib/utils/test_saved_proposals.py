"""Files of proposals."""
import numpy as np
import pytest

from lib.errors import DatasetError
from lib.utils.proposals import load_proposals, save_proposals

DETS = np.arange(15, dtype=np.float32).reshape(3, 5)


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / 'p.npz')
    save_proposals(path, ['a', 'b', 'c'], [DETS[:2], DETS[:0], DETS[2:]])
    return path


def test_proposals_come_back_as_they_were_saved(path):
    first, second, third = load_proposals(path, ['a', 'b', 'c'])
    np.testing.assert_array_equal(first, DETS[:2])
    np.testing.assert_array_equal(third, DETS[2:])
    assert second.shape == (0, 5) and first.dtype == np.float32


def test_proposals_are_found_by_name_in_any_order(path):
    third, first = load_proposals(path, ['c', 'a'])
    np.testing.assert_array_equal(third, DETS[2:])
    np.testing.assert_array_equal(first, DETS[:2])


def test_a_data_set_without_a_single_proposal_can_be_saved(tmp_path):
    save_proposals(str(tmp_path / 'p.npz'), ['a'], [DETS[:0]])
    assert load_proposals(str(tmp_path / 'p.npz'), ['a'])[0].shape == (0, 5)


def test_an_image_without_an_entry_is_named(path):
    with pytest.raises(DatasetError, match='no proposals for 1 of 2 images, such as d'):
        load_proposals(path, ['a', 'd'])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing.npz'):
        load_proposals(str(tmp_path / 'nothing.npz'), ['a'])


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-40], lambda data: b'PK' + data[:100],
                                    lambda data: b'no zip'])
def test_a_damaged_file_is_named(path, damage):
    with open(path, 'rb') as file:
        data = file.read()
    with open(path, 'wb') as file:
        file.write(damage(data))
    with pytest.raises(DatasetError, match='p.npz'):
        load_proposals(path, ['a'])


@pytest.mark.parametrize('arrays', [
    dict(index=['a'], counts=[4], dets=DETS), dict(index=['a', 'b'], counts=[3], dets=DETS),
    dict(index=['a', 'b'], counts=[4, -1], dets=DETS),
    dict(index=['a'], counts=[3.0], dets=DETS), dict(index=['a'], counts=[3])])
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, arrays):
    np.savez(str(tmp_path / 'p.npz'), **arrays)
    with pytest.raises(DatasetError, match='p.npz'):
        load_proposals(str(tmp_path / 'p.npz'), ['a'])


def test_nothing_is_unpickled(tmp_path):
    np.savez(str(tmp_path / 'p.npz'), index=np.array([{}], dtype=object), counts=[3], dets=DETS)
    with pytest.raises(DatasetError, match='p.npz'):
        load_proposals(str(tmp_path / 'p.npz'), ['a'])


def test_a_failed_write_leaves_the_old_file(path):
    with pytest.raises(ValueError):
        save_proposals(path, ['a', 'b'], [DETS, DETS[:, :4]])
    assert len(load_proposals(path, ['a'])[0]) == 2
