"""Files of proposals."""
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.io

from lib.dataset.imdb import append_flipped_images, make_entry
from lib.dataset.proposals import check_proposals, load_proposals, save_proposals
from lib.errors import DatasetError

INDEXES = ['000005', '000007', '000009']


def roidb():
    return [make_entry('/images/%s.jpg' % index, index, height=40, width=100) for index in INDEXES]


def cells(arrays, shape):
    result = np.empty(len(arrays), dtype=object)
    result[:] = arrays
    return result.reshape(shape)


def write_mat(path, boxes, images=None, key='boxes'):
    content = {key: cells(boxes, (1, -1))}
    if images is not None:
        content['images'] = cells([np.array([name]) for name in images], (-1, 1))
    scipy.io.savemat(str(path), content)
    return str(path)


SELECTIVE_SEARCH = [np.array([[1, 1, 40, 100], [3, 2, 5, 4]], np.uint16), np.zeros((0, 4)),
                    np.array([[10.0, 20, 11, 22]])]


@pytest.mark.parametrize('names', [None, INDEXES, ['000005.jpg', '000007.PNG', '000009']])
def test_selective_search_of_the_release_is_swapped_and_counted_from_0(tmp_path, names):
    found = load_proposals(write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH, names), INDEXES)
    # y1, x1, y2, x2 = 1, 1, 40, 100 is the whole picture: x1, y1, x2, y2 = 0, 0, 99, 39
    np.testing.assert_array_equal(found[0], np.array([[0, 0, 99, 39, 1], [1, 2, 3, 4, 1]], np.float32))
    assert found[1].shape == (0, 5) and found[0].dtype == np.float32
    np.testing.assert_array_equal(found[2], [[19, 9, 21, 10, 1]])


def test_proposals_of_matlab_lie_in_memory_row_by_row(tmp_path):
    found = load_proposals(write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH), INDEXES)
    assert all(proposals.flags.c_contiguous for proposals in found)


def test_images_are_found_by_name_and_the_file_may_have_more(tmp_path):
    path = write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH, INDEXES)
    found = load_proposals(path, ['000009', '000005'])
    assert [len(proposals) for proposals in found] == [1, 2]


def test_edge_boxes_have_width_height_and_score(tmp_path):
    # from column 11 on, 5 columns wide: 11 to 15, counted from 0: 10 to 14
    boxes = [np.array([[11.0, 21, 5, 10, 0.25]]), np.zeros((0, 5)), np.zeros((0, 5))]
    found = load_proposals(write_mat(tmp_path / 'a.mat', boxes, key='bbs'), INDEXES)
    np.testing.assert_array_equal(found[0], [[10, 20, 14, 29, 0.25]])


def write_npz(path, index=('000009', '000005', '000007'), counts=(1, 0, 1),
              dets=np.array([[1.5, 2, 3, 4, 0.5], [5, 6, 7, 8, 0.25]])):
    np.savez(str(path), index=np.array(index), counts=np.array(counts), dets=dets)
    return str(path)


def test_an_npz_file_has_names_counts_and_all_boxes(tmp_path):
    found = load_proposals(write_npz(tmp_path / 'a.npz'), INDEXES)
    assert [len(proposals) for proposals in found] == [0, 1, 1]
    np.testing.assert_array_equal(np.vstack(found), [[5, 6, 7, 8, 0.25], [1.5, 2, 3, 4, 0.5]])


def test_names_in_an_npz_file_may_be_numbers_and_nothing_else_than_texts_or_numbers(tmp_path):
    found = load_proposals(write_npz(tmp_path / 'a.npz', index=(9, 5, 7)), ['5', '9'])
    assert [len(proposals) for proposals in found] == [0, 1]
    with pytest.raises(DatasetError, match='index: an array of texts or whole numbers expected, .* found float64'):
        load_proposals(write_npz(tmp_path / 'a.npz', index=(9.5, 5, 7)), ['5'])


def test_an_npz_file_may_lack_scores(tmp_path):
    path = write_npz(tmp_path / 'a.npz', dets=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32))
    np.testing.assert_array_equal(load_proposals(path, ['000007'])[0], [[5, 6, 7, 8, 1]])


@pytest.mark.parametrize('wrong', [dict(counts=(1, 0, 2)), dict(counts=(1, 1)), dict(counts=(2, -1, 1)),
                                   dict(counts=(1.0, 0.0, 1.0)),
                                   dict(counts=np.array([2 ** 63, 2 ** 63, 2], np.uint64))])
def test_arrays_of_an_npz_file_that_do_not_fit_together_are_refused(tmp_path, wrong):
    with pytest.raises(DatasetError, match=r'a\.npz: its arrays do not fit together: index \(3,\), counts '):
        load_proposals(write_npz(tmp_path / 'a.npz', **wrong), INDEXES)


def test_folders_belong_to_a_name_and_a_name_stands_once(tmp_path):
    path = write_npz(tmp_path / 'a.npz', index=('b/1', 'a/1', 'c/1.jpg'))
    assert [len(proposals) for proposals in load_proposals(path, ['a/1', 'b/1', 'c/1'])] == [0, 1, 1]
    with pytest.raises(DatasetError, match='it names 1 images twice, such as 1. Give each'):
        load_proposals(write_npz(tmp_path / 'a.npz', index=('1', '1', '2')), ['1'])


def test_pictures_that_differ_only_in_their_extension_have_proposals_of_their_own(tmp_path):
    path = write_npz(tmp_path / 'a.npz', index=('1.jpg', '1.png', '2.jpg'))         # 1, 0 and 1 boxes
    assert [len(proposals) for proposals in load_proposals(path, ['1.png', '1.jpg', '2'])] == [0, 1, 1]
    with pytest.raises(DatasetError, match='no proposals for 1 of 1 images, such as 1; it has 3 images'):
        load_proposals(path, ['1'])


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('as_dict', [False, True])
def test_a_pickle_is_a_list_in_the_images_order_or_a_dict_by_name(tmp_path, protocol, as_dict):
    arrays = [np.array([[1, 2, 3, 4, i]], np.float32) for i in range(3)]
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(zip(INDEXES, arrays)) if as_dict else arrays, protocol))
    np.testing.assert_array_equal(np.vstack(load_proposals(str(tmp_path / 'a.pkl'), INDEXES))[:, 4], [0, 1, 2])


def test_code_in_a_pickle_is_not_run(tmp_path):
    (tmp_path / 'a.pkl').write_bytes(b'cos\nsystem\n(S"touch evil"\ntR.')
    with pytest.raises(DatasetError, match='it holds os.system'):
        load_proposals(str(tmp_path / 'a.pkl'), INDEXES)


def test_proposals_are_mirrored_with_their_image(tmp_path):
    entry = dict(roidb()[0], proposals=load_proposals(write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH), INDEXES)[0])
    flipped = append_flipped_images([entry])[1]
    # x1 becomes 99 - x2: 99 - 3 = 96 to 99 - 1 = 98
    np.testing.assert_array_equal(flipped['proposals'], [[0, 0, 99, 39, 1], [96, 2, 98, 4, 1]])


def test_a_box_may_leave_the_image_by_a_pixel():
    proposals = np.array([[-1, 0, 99.4, 40, 0.5]], np.float32)      # the image is 100 x 40
    check_proposals(proposals, roidb()[0], 'a.pkl')
    assert proposals.tolist() == [[-1, 0, np.float32(99.4), 40, 0.5]]


@pytest.mark.parametrize('box', [[0, 0, 101, 10], [0, 0, 10, 41], [-2, 0, 5, 5], [5, 5, 4, 9], [0, 0, np.nan, 5]])
def test_a_box_outside_the_image_or_inside_out_is_named(box):
    proposals = np.array([[1, 2, 3, 4, 1], box + [1]], np.float32)
    with pytest.raises(DatasetError, match=r'a\.pkl: image 000005 of 100 x 40 pixels, proposal 1 is .*image set'):
        check_proposals(proposals, roidb()[0], 'a.pkl')


def test_another_number_of_images_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='a.mat: proposals of 2 images expected, found 3, and no names'):
        load_proposals(write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH), INDEXES[:2])


def test_an_image_that_the_file_lacks_is_named(tmp_path):
    path = write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH, INDEXES)
    message = 'no proposals for 1 of 2 images, such as 000012; it has 3 images, such as 000005'
    with pytest.raises(DatasetError, match=message):
        load_proposals(path, ['000005', '000012'])


def test_names_and_boxes_must_be_as_many(tmp_path):
    with pytest.raises(DatasetError, match='it names 2 images and has boxes of 3'):
        load_proposals(write_mat(tmp_path / 'a.mat', SELECTIVE_SEARCH, INDEXES[:2]), INDEXES)


@pytest.mark.parametrize('array, found', [(np.zeros((2, 3)), r'float64 of shape \(2, 3\)'), (np.zeros(4), r'\(4,\)'),
                                          (np.array([['a'] * 4]), r'<U1 of shape \(1, 4\)')])
def test_an_array_that_is_no_list_of_boxes_is_refused(tmp_path, array, found):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([array]))
    message = r'a\.pkl: image 000005: an array of numbers \(m, 4 or 5\) expected, found .*'
    with pytest.raises(DatasetError, match=message + found):
        load_proposals(str(tmp_path / 'a.pkl'), ['000005'])


@pytest.mark.parametrize('name, content, message', [
    ('a.mat', b'nonsense', 'not a .mat file that can be read'),
    ('a.npz', b'PK\3\4nonsense', 'not an .npz file of plain arrays index, counts, dets'),
    ('a.npz', pickle.dumps([1]), 'not an .npz file'), ('a.pkl', b'nonsense', 'not a pickle that can be read'),
    ('a.pkl', pickle.dumps(3), 'a list of arrays or a dict of them expected, found int'),
    ('a.txt', b'', 'expected proposals in a file whose name ends in .mat, .npz, .pkl')])
def test_a_damaged_or_strange_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match='%s: .*%s' % (name, message)):
        load_proposals(str(tmp_path / name), INDEXES)


def test_a_mat_file_without_boxes_is_refused_with_what_it_holds(tmp_path):
    scipy.io.savemat(str(tmp_path / 'a.mat'), {'windows': np.zeros((2, 4))})
    with pytest.raises(DatasetError, match="a cell array 'boxes' .* expected, found windows"):
        load_proposals(str(tmp_path / 'a.mat'), INDEXES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing.mat: there is no such file of proposals'):
        load_proposals(str(tmp_path / 'nothing.mat'), INDEXES)


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


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-40], lambda data: b'PK' + data[:100],
                                    lambda data: b'no zip'],
                         ids=['empty', 'cut at its end', 'its beginning', 'no zip'])
def test_a_damaged_file_is_named(path, damage):
    with open(path, 'rb') as file:
        data = file.read()
    with open(path, 'wb') as file:
        file.write(damage(data))
    with pytest.raises(DatasetError, match='p.npz'):
        load_proposals(path, ['a'])


def test_nothing_is_unpickled(tmp_path):
    np.savez(str(tmp_path / 'p.npz'), index=np.array([{}], dtype=object), counts=[3], dets=DETS)
    with pytest.raises(DatasetError, match=r'p\.npz: not an \.npz file of plain arrays'):
        load_proposals(str(tmp_path / 'p.npz'), ['a'])


def test_a_failed_write_leaves_the_old_file(path):
    with pytest.raises(ValueError):
        save_proposals(path, ['a', 'b'], [DETS, DETS[:, :4]])
    assert len(load_proposals(path, ['a'])[0]) == 2


FULL_DISK = """
import resource, sys
import numpy as np
from lib.dataset.proposals import save_proposals
room = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, room[1]))
try:
    save_proposals(sys.argv[1], ['a'], [np.ones((9000, 5), np.float32)])
except OSError as error:
    print(error)
finally:  # what measures the test's coverage writes its file at the end
    resource.setrlimit(resource.RLIMIT_FSIZE, room)
"""


def test_a_disk_without_room_leaves_no_file_and_one_sentence(tmp_path):
    done = subprocess.run([sys.executable, '-c', FULL_DISK, str(tmp_path / 'p.npz')], capture_output=True, text=True)
    assert 'p.npz could not be written (File too large)' in done.stdout
    assert done.stderr == ''
    assert list(tmp_path.iterdir()) == []
