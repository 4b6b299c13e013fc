"""THE rule for a box, flags, and what is said of the objects of a set."""
import json

import cv2
import numpy as np
import pytest

from lib.dataset import load_gt_roidb, make_dataset, read_annotated
from lib.dataset.annotations import CROWD, DIFFICULT, IGNORED, read_flag
from lib.dataset.box_rule import RELEASE, VERDICTS, fit_boxes, fit_items, hints, usage_text
from lib.errors import DatasetError

SIZE = (96, 80)


@pytest.mark.parametrize('box, fitted, verdict', [
    ((10, 10, 50, 60), (10, 10, 50, 60), None),
    ((0, 0, 95, 79), (0, 0, 95, 79), None),
    ((-30, 10, 29, 29), (0, 10, 29, 29), 'box sticks out'),             # left, by 30 of at most 48
    ((10, -20, 29, 29), (10, 0, 29, 29), 'box sticks out'),             # above, by 20 of at most 40
    ((60, 10, 119, 29), (60, 10, 95, 29), 'box sticks out'),            # right, by 24
    ((10, 50, 29, 99), (10, 50, 29, 79), 'box sticks out'),             # below, by 20
    ((-48, 10, 50, 29), (0, 10, 50, 29), 'box sticks out'),             # by exactly half of the width
    ((10, 10, 95.0005, 29), (10, 10, 95, 29), None),                    # rounding of fractions
    ((-49, 10, 50, 29), None, 'box far outside the image'),
    ((10, -41, 50, 29), None, 'box far outside the image'),
    ((10, 10, 500, 29), None, 'box far outside the image'),
    ((10, 10, 50, 5000), None, 'box far outside the image'),
    ((100, 10, 130, 29), None, 'box outside the image'),
    ((-30, 10, -1, 29), None, 'box outside the image'),
    ((10, -30, 29, -1), None, 'box outside the image'),
    ((10, 80, 29, 90), None, 'box outside the image'),
    ((60, 10, 19, 29), None, 'inverted box'),
    ((10, 60, 29, 19), None, 'inverted box'),
    ((20, 20, 19, 49), None, 'tiny box'),                               # a width of 0
    ((20.2, 20.4, 19.8, 49.4), None, 'tiny box'),                       # 0.6
    ((20, 20, 20.9, 49), None, 'tiny box'),
    ((20, 20, 21, 21), (20, 20, 21, 21), None),                         # 2 x 2
    ((-10, 10, 0, 29), None, 'tiny box'),                               # one column is left of it
])
def test_a_box_is_kept_clipped_or_dropped(box, fitted, verdict):
    boxes, verdicts = fit_boxes([box], SIZE)
    assert VERDICTS[verdicts[0]] == verdict
    if fitted is not None:
        assert boxes[0].tolist() == list(fitted)
    # the same for many boxes, each in an image of its own
    both, again = fit_boxes([box, box], np.array([SIZE, (10 ** 6, 10 ** 6)]))
    assert again[0] == verdicts[0] and both[0].tolist() == boxes[0].tolist()


def test_the_release_s_rule_keeps_thin_boxes_and_moves_those_left_of_the_image():
    # x2 = min(95, 0 + 59), y2 = min(79, 0 + 49)
    boxes, verdicts = fit_boxes([(-30, -20, 29, 29), (20, 20, 19, 49), (5, 5, 9, 9)], SIZE, rule=RELEASE,
                                areas=np.array([3000, 12, 0]))
    assert boxes[:2].tolist() == [[0, 0, 59, 49], [20, 20, 20, 49]] and (verdicts > 0).tolist() == [False, False, True]


@pytest.mark.parametrize('value, flag', [
    (0, False), (1, True), (0.0, False), (1.0, True), (True, True), (False, False), (None, False), ('', False),
    ('0', False), ('1', True), ('true', True), ('False', False), ('TRUE', True), (' 1 ', True), ('null', False),
    ('no', False), ('yes', True)])
def test_a_flag_is_read_strictly(value, flag):
    assert read_flag(value, 'a.json: annotations[0]', 'iscrowd') is flag


@pytest.mark.parametrize('value', [2, -1, 0.5, float('nan'), 'x', '2', 'Unspecified', [], [0], {}, {'a': 1}, '01'])
def test_anything_else_as_a_flag_is_an_error_with_its_place(value):
    with pytest.raises(DatasetError, match=r'a\.json: annotations\[0\]: iscrowd must be 0 or 1 \(or true, false, null'):
        read_flag(value, 'a.json: annotations[0]', 'iscrowd')


# --- every format with the same objects ---

FORMATS = ('PascalVOC', 'coco', 'csv', 'yolo')
FLAGS = {'PascalVOC': ['difficult'], 'coco': ['difficult', 'iscrowd', 'ignore'],
         'csv': ['difficult', 'crowd', 'ignore']}


def write_set(folder, kind, objects):
    """One image of 96 x 80 pixels, objects are (box counted from 0, dict of flags)."""
    image = cv2.imencode('.png', np.full((80, 96, 3), 90, dtype=np.uint8))[1].tobytes()
    places = {'PascalVOC': 'JPEGImages/a.png', 'coco': 'train/a.png', 'csv': 'a.png', 'yolo': 'images/train/a.png'}
    texts = {'PascalVOC': ('Annotations/a.xml', _xml), 'coco': ('train.json', _json), 'csv': ('train.csv', _csv),
             'yolo': ('labels/train/a.txt', _yolo)}
    extra = {'PascalVOC': [('ImageSets/Main/train.txt', 'a\n'), ('classes.txt', 'car\n')],
             'yolo': [('data.yaml', 'names: [car]\n')], 'csv': [('classes.txt', 'car\n')]}
    files = [(places[kind], image), (texts[kind][0], texts[kind][1](objects).encode())]
    for name, data in files + [(name, text.encode()) for name, text in extra.get(kind, [])]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


def _xml(objects):
    nodes = ''.join('<object><name>car</name>%s<bndbox><xmin>%r</xmin><ymin>%r</ymin><xmax>%r</xmax><ymax>%r</ymax>'
                    '</bndbox></object>'
                    % (''.join('<%s>%s</%s>' % (key, value, key) for key, value in flags.items()),
                       *(value + 1 for value in box)) for box, flags in objects)
    return '<annotation><size><width>96</width><height>80</height></size>%s</annotation>' % nodes


def _json(objects):
    return json.dumps({'images': [{'id': 3, 'file_name': 'a.png', 'width': 96, 'height': 80}],
                       'categories': [{'id': 1, 'name': 'car'}],
                       'annotations': [dict(flags, image_id=3, category_id=1, bbox=[
                           box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1]) for box, flags in objects]})


def _csv(objects):
    return 'image,x1,y1,x2,y2,class,difficult,crowd,ignore\n' + ''.join(
        'a.png,%r,%r,%r,%r,car,%s\n' % (tuple(box) + (','.join(str(flags.get(key, '')) for key in FLAGS['csv']),))
        for box, flags in objects) + ('' if objects else 'a.png,,,,,,,,\n')


def _yolo(objects):
    return ''.join('0 %r %r %r %r\n'
                   % ((x1 + x2 + 1) / 192, (y1 + y2 + 1) / 160, (x2 - x1 + 1) / 96, (y2 - y1 + 1) / 80)
                   for (x1, y1, x2, y2), _ in objects)


EDGES = [((-30, -20, 29, 29), {}), ((60, 50, 119, 99), {}), ((10, 10, 50, 60), {}), ((60, 70, 19, 19), {}),
         ((20, 20, 20, 49), {}), ((120, 10, 140, 30), {}), ((10, 10, 180, 30), {})]


@pytest.mark.parametrize('kind', FORMATS)
def test_every_format_trains_on_and_is_evaluated_with_the_same_boxes(kind, tmp_path):
    imdb = make_dataset(kind, 'train', write_set(tmp_path, kind, EDGES))
    kept = [[0, 0, 29, 29], [60, 50, 95, 79], [10, 10, 50, 60]]
    np.testing.assert_allclose(imdb.gt_roidb()[0]['boxes'], kept, atol=1e-5)
    found = np.column_stack([np.array(kept, dtype=np.float64), [0.9, 0.8, 0.7]])
    evaluation = imdb.evaluate_detections([[[]], [found]])
    assert evaluation.metrics['mAP@0.5'] == pytest.approx(1)       # what is not trained on is not missed
    assert usage_text(imdb.fitted) == (
        'of 7 objects 3 are used: 1 dropped (inverted box), 1 dropped (box outside the image), '
        '1 dropped (box far outside the image), 1 dropped (tiny box)')


@pytest.mark.parametrize('kind, flag', [(kind, flag) for kind in FLAGS for flag in FLAGS[kind]])
@pytest.mark.parametrize('value', [1, 'true'])
def test_a_flagged_object_is_not_trained_on_and_need_not_be_found(kind, flag, value, tmp_path):
    objects = [((10, 10, 50, 60), {}), ((59, 10, 89, 60), {flag: value})]
    imdb = make_dataset(kind, 'train', write_set(tmp_path, kind, objects))
    assert imdb.gt_roidb()[0]['boxes'].tolist() == [[10, 10, 50, 60]]
    evaluation = imdb.evaluate_detections([[[]], [np.array([[10, 10, 50, 60, 0.9]])]])
    assert evaluation.metrics['mAP@0.5'] == pytest.approx(1)
    both = np.array([[59, 10, 89, 60, 0.95], [10, 10, 50, 60, 0.9]])        # nor is finding it wrong
    assert imdb.evaluate_detections([[[]], [both]]).metrics['mAP@0.5'] == pytest.approx(1)
    bits = {'difficult': DIFFICULT, 'iscrowd': CROWD, 'crowd': CROWD, 'ignore': IGNORED}[flag]
    assert imdb.data.pictures[0].items['flags'].tolist() == [0, bits]


@pytest.mark.parametrize('kind, flag', [(kind, flag) for kind in FLAGS for flag in FLAGS[kind]])
def test_a_flag_that_is_none_stops_with_its_place(kind, flag, tmp_path):
    folder = write_set(tmp_path, kind, [((10, 10, 50, 60), {flag: 'maybe'})])
    with pytest.raises(DatasetError, match=r"(object 0 \(car\)|annotations\[0\]|line 2): <?%s>? must be 0 or 1" % flag):
        make_dataset(kind, 'train', folder)
    assert [fault.kind for fault in read_annotated(kind, 'train', folder).faults] == ['unreadable object']


NOTHING = {'flagged': lambda kind: [((10, 10, 50, 60), {FLAGS[kind][-1]: 1})] * 3,
           'dropped': lambda kind: [((60, 70, 19, 19), {}), ((120, 10, 130, 60), {})], 'empty': lambda kind: []}


@pytest.mark.parametrize('kind, what', [(kind, what) for kind in FORMATS for what in NOTHING
                                        if kind in FLAGS or what != 'flagged'])
def test_a_set_without_a_usable_object_stops_with_counts(kind, what, tmp_path):
    objects = NOTHING[what](kind)
    with pytest.raises(DatasetError, match='train: of %d objects? 0 are trained on' % len(objects)):
        load_gt_roidb(kind, 'train', write_set(tmp_path, kind, objects))


def test_an_object_that_is_not_used_is_counted_with_one_reason(tmp_path):
    objects = [((5, 5, 9, 9), {'ignore': 1, 'iscrowd': 1}), ((60, 10, 19, 29), {'ignore': 1}), ((5, 5, 9, 9), {})]
    fitted = fit_items(read_annotated('coco', 'train', write_set(tmp_path, 'coco', objects)), [SIZE])
    assert fitted.counts() == {'flagged as crowd': 1, 'flagged as ignored': 1} and fitted.used.sum() == 1


def test_the_log_names_images_objects_and_what_is_dropped_by_reason(tmp_path, caplog):
    objects = EDGES + [((5, 5, 9, 9), {'ignore': 1}), ((5, 5, 9, 9), {'iscrowd': '1'})]
    with caplog.at_level('INFO'):
        make_dataset('coco', 'train', write_set(tmp_path, 'coco', objects)).gt_roidb()
    assert caplog.messages[-1].endswith(
        'train: 1 image, 0 without used objects; of 9 objects 3 are used: 1 flagged as crowd, 1 flagged '
        'as ignored, 1 dropped '
        '(inverted box), 1 dropped (box outside the image), 1 dropped (box far outside the image), 1 dropped '
        '(tiny box)')
    assert sum('dropped' in message and 'annotations[' in message for message in caplog.messages) == 4


def test_of_many_dropped_boxes_some_are_named_and_the_others_counted(tmp_path, caplog):
    make_dataset('csv', 'train', write_set(tmp_path, 'csv', [((60, 70, 19, 19), {})] * 9 + EDGES)).gt_roidb()
    assert sum('inverted box: dropped' in message for message in caplog.messages) == 5
    assert 'inverted box: 5 more like this; the checker lists them' in caplog.messages


def test_an_area_of_zero_or_of_an_outline_does_not_drop_an_object(tmp_path):
    objects = [((10, 10, 50, 60), {'area': 0}), ((60, 10, 90, 60), {'area': 12.5}), ((10, 62, 50, 79), {'area': None})]
    imdb = make_dataset('coco', 'train', write_set(tmp_path, 'coco', objects))
    assert len(imdb.gt_roidb()[0]['boxes']) == 3
    found = np.array([[10, 10, 50, 60, 0.9], [60, 10, 90, 60, 0.8], [10, 62, 50, 79, 0.7]])
    assert imdb.evaluate_detections([[[]], [found]]).score == pytest.approx(1)


def test_without_a_known_size_only_the_order_of_the_corners_is_judged(tmp_path):
    data = read_annotated('csv', 'train', write_set(tmp_path, 'csv', EDGES))
    fitted = fit_items(data, [(np.nan, np.nan)])
    assert [VERDICTS[verdict] for verdict in fitted.verdicts] == [
        'box sticks out', None, None, 'inverted box', 'tiny box', None, None]


def test_boxes_fitted_block_by_block_are_those_fitted_at_once(monkeypatch, tmp_path):
    data = read_annotated('csv', 'train', write_set(tmp_path, 'csv', EDGES))
    boxes, verdicts = fit_boxes([box for box, _ in EDGES], SIZE)
    monkeypatch.setattr('lib.dataset.box_rule._BLOCK', 3)
    fitted = fit_items(data, [SIZE])
    assert len(EDGES) == 7 and fitted.boxes.tolist() == boxes.tolist() and fitted.verdicts.tolist() == verdicts.tolist()


# left, top, right, bottom
SIDES = [(20, 10, 60, 50), (50, 40, 90, 70), (5, 30, 40, 79), (60, 5, 95, 40), (0, 5, 30, 60)]


@pytest.mark.parametrize('kind, meant, read', [     # what is read where other numbers were written
    ('coco', 'two corners', lambda x, y, right, bottom: (x, y, x + right - 1, y + bottom - 1)),
    ('yolo', 'two corners', lambda x, y, right, bottom: (x - right / 2, y - bottom / 2, x + right / 2 - 1,
                                                         y + bottom / 2 - 1)),
    ('yolo', 'corner, width and height', lambda x, y, right, bottom: (
        x - (right - x) / 2, y - (bottom - y) / 2, x + (right - x) / 2 - 1, y + (bottom - y) / 2 - 1)),
    ('csv', 'corner, width and height', lambda x, y, right, bottom: (x, y, right - x, bottom - y)),
    ('PascalVOC', 'corner, width and height', lambda x, y, right, bottom: (x, y, right - x, bottom - y))])
def test_boxes_in_the_four_numbers_of_another_format_get_a_hint(kind, meant, read, tmp_path):
    data = read_annotated(kind, 'train', write_set(tmp_path, kind, [(read(*sides), {}) for sides in SIDES * 2]))
    assert [fault.text.partition(', and none would if the four numbers were ')[2].partition('.')[0]
            for fault in hints(data, [SIZE])] == [meant]
    assert hints(data, [(np.nan, np.nan)]) == []


@pytest.mark.parametrize('kind', FORMATS)
def test_boxes_that_are_right_or_some_of_which_stick_out_get_no_hint(kind, tmp_path):
    right = [((x, y, x2 - 1, y2 - 1), {}) for x, y, x2, y2 in SIDES]
    for name, objects in (('right', right), ('edges', EDGES), ('one', [((50, 40, 100, 79), {})]), ('none', [])):
        assert hints(read_annotated(kind, 'train', write_set(tmp_path / name, kind, objects)), [SIZE]) == []


@pytest.mark.parametrize('kind', ('PascalVOC', 'coco', 'csv'))
def test_fractions_where_pixels_are_expected_get_a_hint(kind, tmp_path):
    data = read_annotated(kind, 'train', write_set(tmp_path, kind, [((-0.8, -0.7, 0.1, 0.2), {})]))
    assert ['if these are fractions' in fault.text for fault in hints(data, [SIZE])] == [True]
