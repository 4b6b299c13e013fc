"""Average precision of PASCAL VOC."""
import json

import numpy as np
import pytest

from lib.dataset.voc_eval import (
    detections_path,
    evaluate_detections,
    evaluate_files,
    match_detections,
    precision_recall,
    read_detections,
    voc_ap,
    voc_eval,
    write_detections,
)
from lib.errors import DatasetError

BOX, FAR = [0, 0, 9, 9], [50, 50, 59, 59]


def truth(*items):
    """Objects of one image: boxes and whether they are difficult."""
    return (np.array([box for box, _ in items], dtype=float).reshape(-1, 4),
            np.array([hard for _, hard in items], dtype=bool))


def dets(*items):
    return np.array([box + [score] for box, score in items])


def test_the_second_detection_of_an_object_is_wrong():
    recall, precision, ap = voc_eval({'a': dets((BOX, 0.9), (BOX, 0.8))}, {'a': truth((BOX, False))})
    np.testing.assert_array_equal(recall, [1, 1])
    np.testing.assert_array_equal(precision, [1, 0.5])
    assert ap == 1


def test_a_detection_of_a_difficult_object_counts_as_neither_right_nor_wrong():
    found, objects = {'a': dets((FAR, 0.9), (FAR, 0.85), (BOX, 0.8))}, {'a': truth((BOX, False), (FAR, True))}
    matches = match_detections(found, objects)
    recall, precision = precision_recall(matches, 0.5)
    np.testing.assert_array_equal(recall, [0, 0, 1])
    np.testing.assert_array_equal(precision, [0, 0, 1])
    assert matches.num_objects == 1


def test_the_overlap_must_exceed_the_threshold():
    # The box 10 x 10 and its left half 5 x 10: IoU 50 / 100.
    found = {'a': dets(([0, 0, 4, 9], 0.9))}
    assert voc_eval(found, {'a': truth((BOX, False))}, ovthresh=0.5)[2] == 0
    assert voc_eval(found, {'a': truth((BOX, False))}, ovthresh=0.49)[2] == 1


def test_a_detection_in_an_image_without_objects_is_wrong():
    recall, precision, ap = voc_eval({'a': dets((BOX, 0.8)), 'b': dets((BOX, 0.9))}, {'a': truth((BOX, False))})
    np.testing.assert_array_equal(precision, [0, 0.5])
    assert ap == 0.5


def test_detections_of_all_images_are_ordered_by_score_and_equal_scores_as_given():
    found = {'a': dets((FAR, 0.5), (BOX, 0.5)), 'b': dets((BOX, 0.7))}
    matches = match_detections(found, {'a': truth((BOX, False)), 'b': truth((BOX, False))})
    np.testing.assert_array_equal(matches.overlaps, [1, 0, 1])
    np.testing.assert_array_equal(matches.objects, [1, 0, 0])


def test_the_metric_of_2007_is_the_mean_of_the_best_precision_at_eleven_recalls():
    # Recall 0.5 with precision 1, recall 1 with precision 2/3: levels 0 to 0.5 (six) give 1, 0.6 to 1 (five) give 2/3.
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert voc_ap(recall, precision, use_07_metric=True) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert voc_ap(recall, precision) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_no_detections_have_average_precision_zero_and_no_objects_none():
    for found in ({}, {'a': np.zeros((0, 5))}):
        assert voc_eval(found, {'a': truth((BOX, False))})[2] == 0
        assert voc_eval(found, {'a': truth((BOX, False))}, use_07_metric=True)[2] == 0
    assert np.isnan(voc_eval({'a': dets((BOX, 0.9))}, {})[2])
    assert np.isnan(voc_eval({'a': dets((BOX, 0.9))}, {'a': truth((BOX, True))})[2])


def test_a_class_without_objects_is_left_out_of_the_mean_unless_it_shall_count_as_zero():
    found = {'cat': {'a': dets((BOX, 0.9))}, 'dog': {'a': dets((BOX, 0.9))}}
    objects = {'cat': {'a': truth((BOX, False))}, 'dog': {}}
    evaluation = evaluate_detections(found, objects)
    assert evaluation.score == 1 and np.isnan(evaluation.metrics['AP@0.5/dog'])
    assert evaluate_detections(found, objects, count_absent=True).score == 0.5


def test_the_score_is_the_mean_at_the_first_threshold_and_the_table_names_each_class():
    # IoU 0.6 of the box and its upper 6 rows: right at 0.5, wrong at 0.7.
    evaluation = evaluate_detections({'cat': {'a': dets(([0, 0, 9, 5], 0.9))}}, {'cat': {'a': truth((BOX, False))}})
    assert evaluation.score == 1
    assert evaluation.metrics == {'mAP@0.5': 1, 'mAP@0.7': 0, 'mAP_07@0.5': 1, 'mAP_07@0.7': 0, 'mAP_area@0.5': 1,
                                  'mAP_area@0.7': 0, 'AP@0.5/cat': 1, 'AP@0.7/cat': 0}
    assert evaluation.table.splitlines()[:2] == ['class       objects   AP@0.5   AP@0.7',
                                                 'cat               1   1.0000   0.0000']


def test_written_detections_come_back_to_the_last_bit(tmp_path):
    rng = np.random.RandomState(7)
    found = {'image 1': rng.rand(3, 5).astype(np.float32), '000002': rng.rand(2, 5)}
    path = str(tmp_path / 'found.txt')
    write_detections({path: found.items()})
    back = read_detections(path)
    assert list(back) == list(found)
    for name in found:
        np.testing.assert_array_equal(back[name][:, 4], found[name][:, 4])
        np.testing.assert_allclose(back[name][:, :4], found[name][:, :4], rtol=0, atol=4e-16)     # + 1 - 1


@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_names_of_images_come_back_whatever_their_bytes_and_blanks(tmp_path, end):
    found = {name: dets((BOX, 0.5)) for name in ('caf\udce9', ' a', 'b  c 1', '\u72d7\u2028b', 'x\fy')}
    path = tmp_path / 'found.txt'
    write_detections({str(path): found.items()})
    path.write_bytes(path.read_bytes().replace(b'\n', end.encode()))
    assert list(read_detections(str(path))) == list(found)


def test_decimals_of_written_detections_can_be_those_of_the_release(tmp_path):
    path = tmp_path / 'found.txt'
    found = [('000001', [[96.8255, 91.67, 541.0218, 219.6343, 0.30012]])]
    write_detections({str(path): found}, score_decimals=3, box_decimals=1)
    assert path.read_text() == '000001 0.300 97.8 92.7 542.0 220.6\n'


@pytest.mark.parametrize('line', ['a 0.5 1 2 3', 'a 0.5 1 2 3 x', 'a'])
def test_a_line_that_is_no_detection_is_named(tmp_path, line):
    (tmp_path / 'found.txt').write_text('a 0.5 1 2 3 4\n\n%s\n' % line)     # an empty line is a line, too
    with pytest.raises(DatasetError, match=r"found\.txt: line 3: expected 'image score x1 y1 x2 y2', found 'a"):
        read_detections(str(tmp_path / 'found.txt'))


def test_missing_detections_of_a_class_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='comp4_det_test_cat.txt'):
        evaluate_files(str(tmp_path), 'test', {'cat': {}})


def test_a_class_name_cannot_lead_a_file_out_of_its_folder():
    assert detections_path('out', 'test', '../cup/mug') == 'out/comp4_det_test_..%2Fcup%2Fmug.txt'
    assert detections_path('out', 'test', 'hot dog') == 'out/comp4_det_test_hot dog.txt'


@pytest.mark.parametrize('letter', ['a', '\u732b'])      # the second one is three bytes, nine when escaped
def test_classes_of_long_names_have_a_file_each(tmp_path, letter):
    names = [letter * 300, letter * 300 + 'b']
    write_detections({detections_path(str(tmp_path), 'test', name): [('a', [[1, 2, 9, 9, number]])]
                      for number, name in enumerate(names)})
    for number, name in enumerate(names):
        assert read_detections(detections_path(str(tmp_path), 'test', name))['a'].tolist() == [[1, 2, 9, 9, number]]


@pytest.fixture
def release(golden):
    """The vectors of the release's evaluation, with the ground truth in the form of `evaluate_detections`."""
    vectors = json.loads((golden / 'voc_eval.json').read_text())
    objects = {name: {} for name in vectors['dets']}
    for image, items in vectors['gt'].items():
        for name in objects:
            chosen = [(np.subtract(item['bbox'], 1), item['difficult']) for item in items if item['name'] == name]
            if chosen:
                objects[name][image] = truth(*chosen)
    return vectors, objects


@pytest.fixture
def written(release, tmp_path):
    """The folder with the release's detections, written with its number of decimals."""
    write_detections({detections_path(str(tmp_path), 'test', name): found.items()
                      for name, found in release[0]['dets'].items()}, score_decimals=3, box_decimals=1)
    return tmp_path


def test_recall_precision_and_average_precision_equal_the_release(release, written):
    vectors, objects = release
    for case, expected in vectors['results'].items():
        name, threshold, metric = case.split('|')
        found = read_detections(detections_path(str(written), 'test', name))
        recall, precision, ap = voc_eval(found, objects[name], float(threshold), metric == '07')
        np.testing.assert_array_equal(recall, expected['rec'])
        np.testing.assert_array_equal(precision, expected['prec'])
        assert ap == pytest.approx(expected['ap'], abs=1e-12)


def test_written_detections_equal_those_of_the_release(golden, written):
    assert (written / 'comp4_det_test_car.txt').read_text() == (golden / 'voc_det_car.txt').read_text()


def test_the_mean_over_the_twenty_classes_equals_the_release_if_absent_ones_count(release, written):
    vectors, objects = release
    evaluation = evaluate_files(str(written), 'test', objects, count_absent=True)
    # The release's means run over 20 classes, 17 of them absent: 0.0494 and 0.0437.
    assert round(evaluation.metrics['mAP@0.5'] * 3 / 20, 4) == 0.0494
    assert round(evaluation.metrics['mAP@0.7'] * 3 / 20, 4) == 0.0437
    for name in objects:
        assert 'AP for %s = %.4f' % (name, evaluation.metrics['AP@0.5/' + name]) in vectors['evaluate_detections_info']


def test_of_the_files_of_the_classes_none_is_new_while_another_is_old(tmp_path):
    paths = [str(tmp_path / name) for name in 'ab']
    write_detections({path: [('old', [[0, 0, 4, 4, 0.5]])] for path in paths})
    with pytest.raises(ValueError, match='reshape'):     # what is found of the second class cannot be written
        write_detections(dict(zip(paths, ([('new', [[0, 0, 4, 4, 0.5]])], [('new', None)]))))
    assert [list(read_detections(path)) for path in paths] == [['old'], ['old']]


def test_a_name_with_a_line_end_stays_one_line(tmp_path):
    path = str(tmp_path / 'd.txt')
    write_detections({path: [('a\nb 0.9 1 1 2 2\r', [[0, 0, 4, 4, 0.5]]), ('my photo', [[0, 0, 4, 4, 0.25]])]})
    with open(path, newline='') as file:
        assert file.read() == 'a\\nb 0.9 1 1 2 2\\r 0.5 1.0 1.0 5.0 5.0\nmy photo 0.25 1.0 1.0 5.0 5.0\n'
    assert read_detections(path)['my photo'].tolist() == [[0, 0, 4, 4, 0.25]]
