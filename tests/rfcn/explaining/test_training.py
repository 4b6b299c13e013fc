"""What a training image teaches: from the loader and the graph of the training, and nothing computed a second way."""
import re
import shutil

import cv2
import numpy as np
import pytest

from lib.bbox.bbox_transform import bbox_overlaps
from lib.errors import CheckpointError, ConfigError, DatasetError, UserError
from lib.rcnn.sample_rois import box_annotator_ohem, cross_entropy, smooth_l1
from rfcn import data_sets
from rfcn.core.target_loaders import anchor_loader
from rfcn.explaining import command, pages, training
from rfcn.explaining.training import training_images
from rfcn.symbols import make_symbol


@pytest.fixture
def first(tiny_cfg):
    """A function (KEY=VALUE, ...) -> configuration and what its first training image teaches."""
    def make(*overrides, **arguments):
        cfg = tiny_cfg(*overrides)
        return cfg, next(training_images(cfg, **arguments))
    return make


def test_the_image_and_its_boxes_are_those_of_the_loader(first, picture):
    cfg, taught = first('TRAIN.SHUFFLE=false', paths=['wide1.jpg'])
    stored = cv2.imread(picture)
    assert taught.path.endswith('wide1.jpg') and np.array_equal(taught.image, stored)    # of scale 1, not mirrored
    np.testing.assert_array_equal(taught.gt_boxes, [[8, 8, 39, 39, 2], [48, 16, 87, 55, 1]])    # red is 2, blue 1
    assert [each.class_name for each in taught.objects] == ['red', 'blue']


@pytest.mark.parametrize('overrides', [[], ['TRAIN.FLIP=true', 'SCALES=[[48, 96]]'], ['network.IMAGE_STRIDE=32'],
                                       ['TRAIN.BATCH_ROIS=16']])
def test_anchors_are_those_that_train(first, overrides):
    cfg, taught = first('TRAIN.BATCH_IMAGES=1', *overrides)
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    loader = anchor_loader(cfg, data_sets.training_roidb(cfg), symbol)
    label = next(loader.batches()).label[0].asnumpy()[0]
    assert [(taught.anchor_labels == value).sum() for value in (-1, 0, 1)] == [(label == value).sum()
                                                                               for value in (-1, 0, 1)]
    # Every positive anchor overlaps an object by 0.7 or is the best that there is.
    positive = taught.anchors[taught.anchor_labels > 0]
    overlaps = bbox_overlaps(positive, taught.gt_boxes[:, :4])
    best = np.array([each.best_anchor for each in taught.objects])
    assert len(positive) and ((overlaps >= 0.7) | np.isclose(overlaps, best)).any(axis=1).all()
    assert sum(each.anchors for each in taught.objects) == len(positive)


@pytest.mark.parametrize('overrides', [[], ['CLASS_AGNOSTIC=false'], ['TRAIN.CXX_PROPOSAL=true'],
                                       ['symbol=small_faster_rcnn']])
def test_losses_and_kept_rois_are_those_of_the_graph(first, overrides, monkeypatch):
    seen = {}
    forward = training._forward

    def spy(graph, params, batch):
        internals = graph.get_internals()
        names = [name for name in ('cls_score_reshape_output', 'rcnn_cls_output', 'bbox_pred_vote_output',
                                   'rcnn_bbox_output') if name in internals.list_outputs()]
        seen.update(forward(training.mx.sym.Group(list(graph) + [internals[name] for name in names]), params, batch))
        return seen
    monkeypatch.setattr(training, '_forward', spy)
    _, taught = first('TRAIN.BATCH_ROIS_OHEM=6', *overrides)
    rois, score = taught.rois, seen.get('cls_score_reshape', seen.get('rcnn_cls'))
    pred = seen.get('bbox_pred_vote', seen.get('rcnn_bbox'))
    targets, weights = seen['proposal_target_bbox_target'], seen['proposal_target_bbox_weight']
    counts = rois.labels >= 0
    np.testing.assert_allclose(rois.cls_loss[counts], cross_entropy(score, rois.labels)[counts], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(rois.box_loss, (weights * smooth_l1(pred - targets)).sum(axis=1), rtol=1e-4, atol=1e-5)
    kept, _ = box_annotator_ohem(score, pred, rois.labels, targets, weights, roi_per_img=6)
    assert rois.kept.sum() == 6
    loss = rois.cls_loss + rois.box_loss
    assert loss[rois.kept].min() >= loss[counts & ~rois.kept].max() - 1e-5
    assert np.isclose(np.sort(loss[kept >= 0]), np.sort(loss[rois.kept]), atol=1e-4).all()


def test_without_ohem_all_sampled_rois_back_propagate(first):
    _, taught = first('TRAIN.ENABLE_OHEM=false', 'TRAIN.BATCH_ROIS=16')
    assert len(taught.rois.labels) == 8     # of one of two images
    assert np.array_equal(taught.rois.kept, taught.rois.labels >= 0)


def test_foreground_rois_are_to_become_the_boxes_of_their_objects(first):
    for overrides in [], ['CLASS_AGNOSTIC=false'], ['TRAIN.BBOX_NORMALIZATION_PRECOMPUTED=false']:
        _, taught = first(*overrides, 'TRAIN.FG_THRESH=0.2', 'TRAIN.BG_THRESH_HI=0.2', paths=['wide1.jpg'])
        foreground = taught.rois.labels > 0
        assert (taught.rois.overlaps[foreground] < 0.9).any()   # others than the objects themselves, whose deltas are 0
        owners = taught.rois.owners[foreground]
        np.testing.assert_allclose(taught.rois.targets[foreground], taught.gt_boxes[owners, :4], atol=0.01)
        np.testing.assert_array_equal(taught.rois.labels[foreground], taught.gt_boxes[owners, 4])


def test_words_tell_which_objects_no_anchor_fits(first):
    _, taught = first('network.ANCHOR_SCALES=[1]', 'network.ANCHOR_RATIOS=[1]', paths=['wide1.jpg'])
    said = ' '.join(taught.sentences())
    # 4 x 6 cells of one anchor, 16 x 16 pixels: 16^2 / 32^2 of the red object, 16^2 / 40^2 of the blue one
    assert re.search(r'^2 objects; \d+ anchors? positive, \d+ negative of 24\.', said)
    assert '2 of 2 objects have no positive anchor of IoU >= 0.7: red (best 0.250), blue (best 0.160).' in said
    _, empty = first(paths=['empty.jpg'])
    assert empty.sentences()[0].startswith('0 objects; 0 anchors positive') and empty.objects == []


def test_images_without_rois_are_shown_as_far_as_they_go(first):
    _, taught = first('symbol=small_class_rpn', paths=['wide1.jpg'])
    assert taught.rois is None and taught.proposals is None
    np.testing.assert_allclose(taught.gt_boxes, [[8, 8, 39, 39, 2], [48, 16, 87, 55, 1]], atol=0.2)


@pytest.mark.parametrize('name', ['sheet.jpg', 'training_1.png', 'training_2.png'])
def test_a_training_image_in_the_place_of_a_drawing_is_kept(own_tiny_voc, tiny_yaml, name):
    images = own_tiny_voc / 'JPEGImages'
    own = images / name
    cv2.imwrite(str(own), cv2.imread(str(images / 'wide1.jpg')))
    annotation = (own_tiny_voc / 'Annotations' / 'wide1.xml').read_text().replace('wide1.jpg', name)
    (own_tiny_voc / 'Annotations' / name).with_suffix('.xml').write_text(annotation)
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('wide1\n%s\n' % own.stem)
    before = own.read_bytes()
    with pytest.raises(UserError, match='%s: this file is read' % name):
        command.main(['--train', '--cfg', tiny_yaml(own_tiny_voc), '--out', str(images), '--images', '2',
                      'TRAIN.SHUFFLE=false'])
    assert own.read_bytes() == before


def test_classes_are_in_the_order_of_the_checkpoint_where_the_configuration_names_none(tiny_run, tiny_yaml, tmp_path,
                                                                                       monkeypatch):
    shutil.copy(str(tiny_run / 'tiny-0001.params'), str(tmp_path))
    settings = (tiny_run / 'config.yaml').read_text().replace('CLASSES: [blue, red]', 'CLASSES: [red, blue]')
    (tmp_path / 'config.yaml').write_text(settings)     # says what the checkpoint is
    shown = []
    monkeypatch.setattr(command, 'write_training_page', lambda images, out: shown.extend(images))
    command.main(['--train', '--cfg', tiny_yaml(), '--params', str(tmp_path / 'tiny-0001.params'), '--out',
                  str(tmp_path / 'out'), '--image', 'high2.jpg', 'dataset.CLASSES=[]'])
    assert shown[0].classes == ('__background__', 'red', 'blue') and shown[0].gt_boxes[:, 4].tolist() == [2]


def test_the_parameters_of_a_checkpoint_follow_the_order_of_the_classes(first, tiny_params):
    (_, plain), (_, turned) = [first('dataset.CLASSES=[%s]' % names, params=tiny_params, paths=['wide1.jpg'])
                               for names in ('blue,red', 'red,blue')]
    assert plain.rois.labels.max() == 2
    assert np.array_equal(turned.rois.labels, np.array([0, 2, 1])[plain.rois.labels.astype(int)])
    np.testing.assert_allclose(turned.rois.cls_loss, plain.rois.cls_loss, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('override, said', [
    ('network.ANCHOR_SCALES=[2, 4, 8]', r'network.ANCHOR_SCALES was \[1.0, 2.0, 4.0\]'),
    ('network.PIXEL_MEANS=[0, 0, 0]', 'network.PIXEL_MEANS was'), ('TRAIN.BBOX_STDS=[1, 1, 1, 1]', 'BBOX_STDS was'),
    ('dataset.CLASSES=[blue, red, green]', 'tells other classes apart')])
def test_a_checkpoint_that_was_trained_with_something_else_is_refused(first, tiny_params, override, said):
    with pytest.raises(CheckpointError, match='tiny-0001.params .*' + said):
        first(override, params=tiny_params)


def test_a_sheet_has_as_many_images_as_a_jpg_takes(first, tmp_path, monkeypatch):
    _, taught = first()
    monkeypatch.setattr(pages, 'SHEET', 1)
    pages.write_training_page([taught] * 2, tmp_path)
    sheet, picture = (cv2.imread(str(tmp_path / name)).shape[0] for name in ('sheet.jpg', 'training_2.png'))
    assert sheet == picture + 10


def test_the_command_writes_a_sheet_and_a_page(tiny_run, tiny_params, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = ['--train', '--cfg', str(tiny_run / 'config.yaml'), '--out', str(out)]
    command.main(arguments + ['--params', tiny_params, '--images', '3'])
    assert sorted(path.name for path in out.iterdir()) == ['sheet.jpg', 'training.html', 'training_1.png',
                                                           'training_2.png', 'training_3.png']
    page = (out / 'training.html').read_text(encoding='utf-8')
    assert page.count('<h2>') == 3 and not re.search(r'(src|href)="(?!data:image/)', page)
    assert 'anchors positive' in capsys.readouterr().out
    command.main(arguments + ['--image', 'high2.jpg'])      # with the parameters that training starts from
    assert (out / 'training.html').read_text(encoding='utf-8').count('<h2>') == 1
    for other in 'gone.jpg', '1.jpg':       # wide1.jpg is another image
        with pytest.raises(DatasetError, match='%s: no image of the training set train has this path' % other):
            command.main(arguments + ['--image', other])
    with pytest.raises(SystemExit):
        command.main(arguments + ['--images', '0'])
    assert "--images: expected a whole number from 1, not '0'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match='name --params and --image'):
        command.main(arguments[1:])


@pytest.mark.parametrize('options, said', [
    (['--train', '--box', '1', '1', '9', '9'], '--box is for explaining a decision'),
    (['--train', '--class', 'red'], '--class is for explaining a decision'),
    (['--train', '--detection', '0'], '--detection is for explaining a decision'),
    (['--images', '1', '--image', 'a.jpg', '--params', 'x.params'], '--images is for --train')])
def test_options_that_would_do_nothing_are_refused(tiny_yaml, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        command.main(['--cfg', tiny_yaml(), '--out', str(tmp_path / 'out')] + options)
    assert not (tmp_path / 'out').exists()
