"""Verdicts on detections and what errors cost, with boxes of 10 x 10 pixels side by side: expected values by hand."""
import json

import numpy as np
import pytest

from lib.dataset import make_dataset
from lib.dataset.box_rule import CLIP, RELEASE
from rfcn.report import analysis
from rfcn.report.analysis import BACKGROUND, BOTH, CLASS, DUPLICATE, EXCUSED, HIT, NONE, PLACE, Objects

CLASSES = 3     # with the background


def box(x, width=10, height=10):
    return [x, 0, x + width - 1, height - 1]


def objects(*rows, images=None):
    """Objects from (class, box, excused, crowd)."""
    labels, boxes, excused, crowds = zip(*[row + (False,) * (4 - len(row)) for row in rows])
    boxes = np.array(boxes, dtype=float)
    return Objects(np.array(images or [0] * len(rows)), np.array(labels), boxes, np.array(excused), np.array(crowds),
                   (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1))


def detections(*rows, images=1):
    """all_boxes from (class, box, score) or (class, box, score, image)."""
    rows = [row if len(row) == 4 else row + (0,) for row in rows]
    return [[np.array([b + [score] for label, b, score, i in rows if (label, i) == (c, image)]).reshape(-1, 5)
             for image in range(images)] for c in range(CLASSES)]


# A and D of class 1, B of class 2, a difficult one of class 1
SCENE = objects((1, box(0)), (2, box(20)), (1, box(40), True), (1, box(60)))
FOUND = detections((1, box(0), 0.9),                # hits A
                   (1, box(0, height=9), 0.8),      # A again
                   (1, box(20), 0.7),               # on B
                   (1, box(0, height=4), 0.6),      # IoU with A 0.4
                   (1, box(100), 0.5),
                   (1, box(40), 0.4),               # the difficult one
                   (1, box(20, height=3), 0.3))     # IoU with B 0.3


def test_each_detection_is_a_hit_or_one_kind_of_error():
    judged = analysis.judge_detections(SCENE, FOUND)
    assert judged.scores.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert judged.verdicts.tolist() == [HIT, DUPLICATE, CLASS, PLACE, BACKGROUND, EXCUSED, BOTH]
    assert judged.targets[[0, 2, 3, 4]].tolist() == [0, 1, 0, NONE]
    assert analysis.missed_objects(SCENE, judged).tolist() == [False, False, False, True]    # B is mistaken in class


def test_what_an_error_costs_is_the_mean_ap_that_is_won_without_it():
    # AP of class 1: A at precision 1, D never: 0.5. Of class 2: 0. The mean is 0.25.
    judged = analysis.judge_detections(SCENE, FOUND)
    assert analysis.mean_ap(analysis.class_curves(SCENE, judged, CLASSES)) == 0.25
    # class: B is found, (0.5 + 1) / 2. missed: class 1 has only A, (1 + 0) / 2. The rest lies behind the hit, and A has
    # one already, so that the error of place becomes none.
    assert analysis.error_costs(SCENE, judged, CLASSES) == {'class': 0.5, 'place': 0, 'both': 0, 'duplicate': 0,
                                                            'background': 0, 'missed': 0.25}


@pytest.mark.parametrize('kind, error', [('background', box(100)), ('both', box(20, height=3))])
def test_an_error_before_the_hit_costs_half_of_the_precision(kind, error):
    # The hit comes second: precision 1/2 at recall 1, AP 0.5 of class 1; that of class 2, which B has alone, is 1.
    scene = objects((1, box(0)), (2, box(20)))
    judged = analysis.judge_detections(scene, detections((1, error, 0.9), (1, box(0), 0.8), (2, box(20), 0.9)))
    costs = analysis.error_costs(scene, judged, CLASSES)
    assert costs.pop(kind) == pytest.approx(0.25) and not any(costs.values())


def test_a_second_box_costs_where_it_comes_before_another_hit():
    # Hit, duplicate, hit: recall 0.5 at precision 1, 1 at 2/3. AP 0.5 + 0.5 * 2/3; without the duplicate 1.
    scene = objects((1, box(0)), (1, box(60)))
    judged = analysis.judge_detections(scene, detections((1, box(0), 0.9), (1, box(0), 0.8), (1, box(60), 0.7)))
    assert analysis.error_costs(scene, judged, CLASSES)['duplicate'] == pytest.approx(1 / 6)


def test_of_several_boxes_in_the_wrong_place_the_best_one_would_be_the_hit():
    scene = objects((1, box(0)),)
    judged = analysis.judge_detections(scene, detections((1, box(0, height=4), 0.9), (1, box(0, height=3), 0.8)))
    assert judged.verdicts.tolist() == [PLACE, PLACE]
    assert analysis.error_costs(scene, judged, CLASSES)['place'] == 1


def test_a_box_beside_an_object_that_need_not_be_found_would_be_no_hit_in_the_right_place():
    scene = objects((1, box(0), True), (1, box(40)))
    judged = analysis.judge_detections(scene, detections((1, box(0, height=4), 0.9), (1, box(40), 0.8)))
    assert judged.verdicts.tolist() == [PLACE, HIT] and judged.targets.tolist() == [NONE, 1]
    # Mended it is gone, so that the hit is the first: 1, not 0.5.
    assert analysis.error_costs(scene, judged, CLASSES)['place'] == 0.5


def test_objects_and_detections_of_other_images_do_not_meet():
    scene = objects((1, box(0)), (1, box(0)), images=[0, 1])
    judged = analysis.judge_detections(scene, detections((1, box(0), 0.9, 0), (1, box(20), 0.8, 1), images=2))
    assert judged.verdicts.tolist() == [HIT, BACKGROUND] and judged.images.tolist() == [0, 1]
    assert analysis.worst_images(scene, judged, 0.5, 9) == [1]      # one missed, one error; image 0 has none


def test_half_in_a_crowd_of_its_class_counts_as_neither():
    scene = objects((1, box(0, width=60), True, True), (1, box(100)))
    judged = analysis.judge_detections(scene, detections((1, box(55), 0.9), (1, box(56), 0.8), (2, box(20), 0.7)))
    # 5 of 10 columns inside, then 4; one of class 2 inside is an error as any other: its IoU is 10 / 60
    assert judged.verdicts.tolist() == [EXCUSED, BACKGROUND, BOTH]


def test_the_objects_of_each_size_have_a_curve_of_their_own():
    scene = objects((1, box(0)), (1, box(0, 40, 40)), images=[0, 1])
    judged = analysis.judge_detections(scene, detections((1, box(0), 0.9, 0), (1, box(100), 0.95, 1), images=2))
    aps = {name: analysis.mean_ap(curves) for name, curves in analysis.size_curves(scene, judged, CLASSES).items()}
    # small: an error of 10 x 10 first, then the hit. medium: the object of 40 x 40 is missed. large: there is none.
    assert aps['small'] == 0.5 and aps['medium'] == 0 and np.isnan(aps['large'])


@pytest.mark.parametrize('side, ap', [(31, 1), (32, 0.5)])
def test_an_error_counts_at_the_size_of_its_own_box(side, ap):
    scene = objects((1, box(0, 40, 40)))        # medium, as is an error from 32 x 32 pixels on
    judged = analysis.judge_detections(scene, detections((1, box(0, 40, 40), 0.8), (1, box(100, side, side), 0.9)))
    assert analysis.mean_ap(analysis.size_curves(scene, judged, CLASSES)['medium']) == ap


def test_the_confusion_matrix_counts_what_objects_are_taken_for():
    matrix = analysis.confusion(SCENE, analysis.judge_detections(SCENE, FOUND), CLASSES, thresh=0.5)
    # class 1 on nothing free: the duplicate, the one in the wrong place, the one on nothing; A found, B taken for class
    # 1, D missed
    assert matrix.tolist() == [[0, 3, 0], [1, 1, 0], [0, 1, 0]]


def test_of_two_objects_at_one_place_a_detection_takes_that_of_its_class():
    scene = objects((1, box(0)), (2, box(0)))
    judged = analysis.judge_detections(scene, detections((2, box(0, height=9), 0.9)))
    assert analysis.confusion(scene, judged, CLASSES, 0.5).tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_the_histogram_counts_hits_and_errors_by_their_scores():
    histogram = analysis.score_histogram(analysis.judge_detections(SCENE, FOUND), bins=10)
    assert histogram[0].tolist() == [0] * 9 + [1]
    assert histogram[1].tolist() == [0, 0, 0, 1, 0, 1, 1, 1, 1, 0]      # 0.4 counts as neither


def test_scores_of_another_program_count_in_the_first_and_the_last_part():
    judged = analysis.judge_detections(SCENE, detections((1, box(0), 7), (1, box(90), -3)))
    assert analysis.score_histogram(judged, bins=3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_without_detections_every_object_is_missed():
    judged = analysis.judge_detections(SCENE, detections())
    assert analysis.missed_objects(SCENE, judged).tolist() == [True, True, False, True]
    assert analysis.mean_ap(analysis.class_curves(SCENE, judged, CLASSES)) == 0
    assert analysis.confusion(SCENE, judged, CLASSES, 0.5).tolist() == [[0, 0, 0], [2, 0, 0], [1, 0, 0]]
    assert analysis.worst_images(SCENE, judged, 0.5, 9) == [0]


def test_without_objects_every_detection_is_on_nothing():
    none = objects((1, box(0)))
    none = Objects(*[column[:0] for column in none])
    judged = analysis.judge_detections(none, detections((1, box(0), 0.9)))
    assert judged.verdicts.tolist() == [BACKGROUND]
    assert np.isnan(analysis.mean_ap(analysis.class_curves(none, judged, CLASSES)))
    assert np.isnan(analysis.error_costs(none, judged, CLASSES)['background'])
    assert set(analysis.size_curves(none, judged, CLASSES)) == {'small', 'medium', 'large'}


@pytest.mark.parametrize('rule, boxes, areas', [
    # By the one rule the first box is clipped, 10 x 10 pixels stay, and the last one, one pixel wide, is dropped;
    # a stated area of 0 counts as not stated.
    (CLIP, [[0, 0, 9, 9], [2, 2, 21, 21]], [100, 400]),
    # Under the release's rule all three count as they are written.
    (RELEASE, [[-4, 0, 9, 9], [2, 2, 21, 21], [5, 5, 5, 24]], [140, 0, 20])])
def test_the_report_judges_by_the_objects_that_the_evaluation_counts(tmp_path, rule, boxes, areas):
    written = [{'bbox': [-4, 0, 14, 10]}, {'bbox': [2, 2, 20, 20], 'area': 0}, {'bbox': [5, 5, 1, 20]}]
    data = {'images': [{'id': 1, 'file_name': 'a.png', 'width': 40, 'height': 30}],
            'categories': [{'id': 3, 'name': 'cat'}],
            'annotations': [dict(item, image_id=1, category_id=3) for item in written]}
    (tmp_path / 'train.json').write_text(json.dumps(data))
    (tmp_path / 'a.png').touch()        # the size is in the json file
    imdb = make_dataset('coco', 'train', str(tmp_path), box_rule=rule)
    found = analysis.objects_of(imdb)
    assert found.boxes.tolist() == boxes and found.areas.tolist() == areas
    truth = imdb.ground_truth()['annotations']
    assert [item['area'] for item in truth] == areas
    assert [item['bbox'][:2] for item in truth] == [box[:2] for box in boxes]
