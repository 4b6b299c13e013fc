"""One decision taken apart: the numbers are those of the network, of its detections and of `lib/psroi`."""
import re
import shutil

import cv2
import mxnet as mx
import numpy as np
import pytest

import rfcn
from lib.errors import ConfigError, UserError
from lib.psroi.psroi_pooling import deformable_psroi_pool, psroi_pool
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import init_params
from rfcn.detector import Detector
from rfcn.explaining import command
from rfcn.explaining.decision import roi_sides, score_boxes
from rfcn.explaining.figures import AFTER, BEFORE, refined_picture
from rfcn.explaining.pages import NO_MAPS, write_explanation
from rfcn.symbols import make_symbol
from rfcn.symbols.rfcn import TRANS_STD

PLAIN, SPECIFIC = [], ['CLASS_AGNOSTIC=false']
DEFORMABLE = ['symbol=small_rfcn_dcn']


@pytest.fixture
def untrained(tiny_cfg, tmp_path):
    """A function (KEY=VALUE, ...) -> Detector with random weights, large enough for scores that differ."""
    def make(*overrides):
        cfg = tiny_cfg('TRAIN.BBOX_NORMALIZATION_PRECOMPUTED=false', 'TEST.BATCH_IMAGES=1', 'TEST.SCORE_THRESH=0',
                       *overrides)
        symbol = make_symbol(cfg).get_symbol(is_train=False)
        args, aux, _ = init_params(symbol, {'data': (1, 3, 64, 96), 'im_info': (1, 3)})
        rng = np.random.RandomState(3)
        args = {name: value * 8 if re.match('r(fcn|cnn|pn)_', name) else value for name, value in args.items()}
        args = {name: mx.nd.array(rng.normal(0, 0.1, value.shape)) if '_offset_t_' in name else value
                for name, value in args.items()}
        path = str(tmp_path / 'random.params')
        checkpoint.save_params(path, args, aux)
        return Detector(cfg, path)
    return make


@pytest.mark.parametrize('overrides, size', [
    (PLAIN, 3), (SPECIFIC, 3), (['network.POOLED_SIZE=1'], 1), (['network.POOLED_SIZE=7'], 7), (DEFORMABLE, 3),
    (['network.CONV5=stride32', 'network.RCNN_FEAT_STRIDE=32'], 3), (['TEST.CXX_PROPOSAL=true'], 3)])
def test_bins_votes_scores_and_boxes_are_the_networks_own(untrained, picture, overrides, size):
    detector = untrained(*overrides)
    explanation = rfcn.explain(detector, picture)
    stride = detector.cfg.network.RCNN_FEAT_STRIDE
    number = explanation.class_number
    assert explanation.maps.shape[:2] == explanation.channels.shape == (size, size)
    for vote in explanation.votes:
        # The vote is the mean of the bins, the score the softmax of the votes.
        assert vote.pooled.mean() == pytest.approx(vote.cls_score[number], abs=1e-5)
        np.testing.assert_allclose(vote.box_bins.mean(axis=(1, 2)), vote.deltas, atol=1e-5)
        exponentials = np.exp(vote.cls_score - vote.cls_score.max())
        np.testing.assert_allclose(vote.cls_prob, exponentials / exponentials.sum(), atol=1e-6)
        # The bins are those of lib/psroi on the maps that are drawn.
        maps = explanation.maps.reshape((1, -1) + explanation.maps.shape[2:])
        roi = np.insert(vote.roi, 0, 0)[None]
        if vote.shifts is None:
            expected = psroi_pool(maps, roi, 1.0 / stride, 1, size)
            for i, j in np.ndindex(size, size):
                left, top, right, bottom = vote.cells[i, j]
                cells = explanation.maps[i, j, top:bottom, left:right]
                assert vote.pooled[i, j] == pytest.approx(cells.mean() if cells.size else 0, abs=1e-4)
        else:
            sides = roi_sides(vote.roi, stride)
            offsets = (vote.shifts * explanation.scale / sides / TRANS_STD).transpose(2, 0, 1)[None]
            assert np.abs(vote.shifts).max() > 0.1
            expected = deformable_psroi_pool(maps, roi, offsets, 1.0 / stride, 1, size, trans_std=TRANS_STD)
        np.testing.assert_allclose(vote.pooled, expected[0, 0], atol=1e-4)


@pytest.mark.parametrize('overrides', [PLAIN, SPECIFIC, DEFORMABLE, ['symbol=small_naive_rcnn'],
                                       ['TEST.NMS_METHOD=soft_linear', 'TEST.BOX_VOTING=true']])
def test_the_explained_score_and_box_are_the_detections(untrained, picture, overrides):
    detector = untrained(*overrides)
    found = detector.detect(picture)
    explanation = rfcn.explain(detector, picture)
    assert explanation.detection.class_name == found[0].class_name == explanation.class_name
    assert explanation.votes[0].cls_prob[explanation.class_number] == pytest.approx(found[0].score, abs=1e-5)
    if 'TEST.BOX_VOTING=true' not in overrides:     # or the detection is a mean of several boxes
        np.testing.assert_allclose(explanation.votes[0].refined, found[0].box, atol=1e-3)


def test_any_detection_of_any_class_is_explained(tiny_run, picture):
    detector = Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params', ['TEST.SCORE_THRESH=0.01'])
    found = detector.detect(picture)
    for number in 0, len(found) // 2, len(found) - 1:
        explanation = rfcn.explain(detector, picture, detection=number)
        assert explanation.votes[0].cls_prob[explanation.class_number] == pytest.approx(found[number].score, abs=1e-6)
        np.testing.assert_allclose(explanation.votes[0].refined, found[number].box, atol=1e-3)
    second = [d for d in found if d.class_name == 'blue'][1]
    explanation = rfcn.explain(detector, picture, class_name='blue', detection=1)
    assert explanation.class_name == 'blue' and explanation.detection.score == second.score


def test_any_box_is_explained_for_the_likeliest_or_a_given_class(tiny_run, picture):
    detector = Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params')
    box = [20, 10, 59, 49]
    explanation = rfcn.explain(detector, cv2.imread(picture), box)
    roi, moved = explanation.votes
    assert explanation.detection is None and explanation.class_number == 1 + roi.cls_prob[1:].argmax()
    np.testing.assert_allclose(roi.box, box, atol=1e-4)
    np.testing.assert_allclose(moved.box, [40, 10, 79, 49], atol=1e-4)     # by half of its 40 pixels
    assert rfcn.explain(detector, picture, box, 'blue').class_name == 'blue'
    at_the_right = rfcn.explain(detector, picture, [56, 10, 95, 49]).votes[1]
    np.testing.assert_allclose(at_the_right.box, [36, 10, 75, 49], atol=1e-4)   # to the left, where there is room


def test_nms_names_the_box_that_removed_each_other(tiny_run, picture):
    detector = Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params', ['TEST.SCORE_THRESH=0.01'])
    explanation = rfcn.explain(detector, picture)
    kept_by_detect = detector.detect_by_class(picture)[explanation.class_number]
    np.testing.assert_allclose(explanation.kept, kept_by_detect, atol=1e-4)
    assert explanation.suppressed
    for each in explanation.suppressed:
        x1, y1 = np.maximum(each.box[:2], explanation.kept[each.by, :2])
        x2, y2 = np.minimum(each.box[2:], explanation.kept[each.by, 2:4])
        inner = max(0, x2 - x1 + 1) * max(0, y2 - y1 + 1)
        areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (each.box, explanation.kept[each.by])]
        assert each.overlap == pytest.approx(inner / (sum(areas) - inner), abs=1e-4) and each.overlap > 0.3
        assert each.score <= explanation.kept[each.by, 4]


def test_objectness_and_proposals_of_the_rpn_are_shown_too(tiny_run, picture):
    explanation = rfcn.explain(Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params'), picture)
    assert explanation.objectness.shape == (4, 6)
    assert 0 < explanation.objectness.min() < explanation.objectness.max() < 1
    assert explanation.proposals.shape[1] == 4 and 1 < len(explanation.proposals) <= 20
    assert len(np.unique(explanation.proposals, axis=0)) == len(explanation.proposals)


@pytest.mark.parametrize('symbol', ['small_naive_rcnn', 'small_faster_rcnn'])
def test_networks_without_maps_are_explained_without_them(untrained, picture, symbol, tmp_path):
    strides = ['network.RCNN_FEAT_STRIDE=16']
    explanation = rfcn.explain(untrained('symbol=' + symbol, *strides), picture)
    assert explanation.maps is None and explanation.channels is None and explanation.votes[0].pooled is None
    assert explanation.votes[0].cls_score.shape == (3,)
    page = write_explanation(explanation, tmp_path / 'out', 'wide1.jpg')
    assert NO_MAPS in page.read_text(encoding='utf-8') and not (tmp_path / 'out' / 'maps.png').exists()


def test_what_cannot_be_explained_is_refused(tiny_run, picture):
    detector = Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params')
    for arguments, said in [(dict(class_name='cow'), "no class is called 'cow'; there are blue, red"),
                            (dict(detection=9999), 'there is no detection 9999: the image has'),
                            (dict(box=[5, 5, 1, 9]), 'a box is x1, y1, x2, y2'),
                            (dict(box=[0, 0, 96, 9]), 'leaves the image of 96 x 64 pixels'),
                            (dict(box=[0, 0, 9]), 'a box is x1, y1, x2, y2')]:
        with pytest.raises(ValueError, match=re.escape(said)):
            rfcn.explain(detector, picture, **arguments)
    with pytest.raises(ValueError, match='detector: expected an rfcn.Detector, found a str'):
        rfcn.explain('tiny-0001.params', picture)
    bf16 = Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params', ['TEST.PRECISION=bf16'])
    with pytest.raises(ConfigError, match='explain with fp32'):
        rfcn.explain(bf16, picture)


def test_a_network_of_one_stage_has_nothing_to_explain(untrained, picture):
    with pytest.raises(ConfigError, match='small_class_rpn has one stage'):
        rfcn.explain(untrained('symbol=small_class_rpn'), picture)


def test_the_command_writes_pictures_and_a_page_without_outside_files(tiny_arguments, picture, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = [*tiny_arguments, '--image', picture, '--out', str(out)]
    command.main(arguments)
    assert {path.name for path in out.iterdir()} == {
        'idea.png', 'rois.png', 'maps.png', 'maps_moved.png', 'box_bins.png', 'box.png', 'objectness.png',
        'proposals.png', 'nms.png', 'explanation.html'}
    assert all(cv2.imread(str(path)) is not None for path in out.glob('*.png'))
    page = (out / 'explanation.html').read_text(encoding='utf-8')
    assert page.count('<img') == 8 and not re.search(r'(src|href)="(?!data:image/)', page)
    explained = rfcn.explain(Detector(arguments[1], arguments[3]), picture).class_number     # 3 x 3 maps of each class
    assert 'the channels %d to %d' % (9 * explained, 9 * explained + 8) in page
    assert 'explanation.html' in capsys.readouterr().out
    command.main(arguments + ['--box', '20', '10', '59', '49', '--class', 'red'])
    page = (out / 'explanation.html').read_text(encoding='utf-8')
    assert '<h1>wide1.jpg: red</h1>' in page
    assert '(20.0, 10.0, 59.0, 49.0)' in page
    with pytest.raises(UserError, match="wide1.jpg: no class is called 'cow'"):
        command.main(arguments + ['--class', 'cow'])


@pytest.mark.parametrize('shape', [(1, 3000, 3), (3000, 1, 3)])
def test_a_picture_of_one_row_of_pixels_is_explained(tiny_arguments, tmp_path, shape):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full(shape, 128, np.uint8))
    command.main([*tiny_arguments, '--image', str(tmp_path / 'a.png'), '--box', '0', '0', '0', '0',
                  '--out', str(tmp_path / 'out')])
    assert (tmp_path / 'out' / 'explanation.html').is_file()


def test_the_box_before_and_after_its_deltas_are_drawn_in_the_two_colours_that_the_page_names(tiny_run, picture):
    explanation = rfcn.explain(Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params'), picture)
    explanation = explanation._replace(image=np.full_like(explanation.image, 128))
    drawn = refined_picture(explanation, explanation.votes[0])
    # and nothing beside them: labels at two corners that lie side by side would cover each other and the boxes
    assert {tuple(pixel) for pixel in np.unique(drawn.reshape(-1, 3), axis=0).tolist()} == {(128,) * 3, BEFORE, AFTER}


def test_a_picture_in_the_place_of_a_drawing_is_kept(tiny_arguments, picture, tmp_path):
    own = tmp_path / 'idea.png'
    shutil.copy(picture, str(own))
    before = own.read_bytes()
    with pytest.raises(UserError, match='idea.png: this file is read'):
        command.main([*tiny_arguments, '--image', str(own), '--out', str(tmp_path)])
    assert own.read_bytes() == before


def test_names_cannot_inject_markup(tiny_run, picture, tmp_path):
    explanation = rfcn.explain(Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params'), picture)
    explanation = explanation._replace(classes=('__background__', '<b>x', '"><script>'))
    page = write_explanation(explanation, tmp_path, '<script>\x1b[31m.jpg').read_text(encoding='utf-8')
    assert '<script>' not in page and '<b>x' not in page and r'\x1b[31m' in page


@pytest.mark.parametrize('overrides, right', [
    ((), 10 + 0.5 * (1000 / 16 - 1)), (('RELEASE_RULES=true',), 10 + 0.5 * (80 - 1))], ids=['clipped', 'unclipped'])
def test_a_box_grows_as_far_as_the_detector_lets_it(untrained, picture, overrides, right):
    detector = untrained(*overrides)
    params = detector.predictor.params[0]
    params['rfcn_bbox_weight'][:] = 0
    params['rfcn_bbox_bias'][:] = np.repeat(np.float32([0, 0, np.log(80), 0] * 2), 9)       # 80 times as wide
    explanation = rfcn.explain(detector, picture, box=[10, 10, 10, 10])
    assert explanation.scale == 1 and explanation.votes[0].refined[2] == pytest.approx(right, abs=1e-3)


def test_any_boxes_are_scored(tiny_run, tiny_params, tiny_voc):
    detector = Detector(tiny_run / 'config.yaml', tiny_params)
    image = str(tiny_voc / 'JPEGImages' / 'wide1.jpg')
    scores, probabilities = score_boxes(detector, image, np.float32([[0, 0, 30, 30]] * 3))
    assert scores.shape == probabilities.shape == (3, 3) and np.allclose(probabilities.sum(axis=1), 1)
    assert [found.shape for found in score_boxes(detector, image, np.zeros((0, 4)))] == [(0, 3)] * 2
    with pytest.raises(ValueError, match='leaves the image'):
        score_boxes(detector, image, np.float32([[0, 0, 300, 30]]))
