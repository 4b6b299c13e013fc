"""Training that starts from another network's parameters."""
import os

import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn import data_sets
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import class_parameters, move_rows, same_classes, start_params
from rfcn.config.config import dump
from rfcn.core.target_loaders import anchor_loader
from rfcn.symbols import make_symbol

COCO = ['person', 'motorcycle', 'potted plant', 'couch', 'zebra']
VOC = ['sofa', 'person', 'boat', 'pottedplant', 'motorbike']


def start(cfg):
    """First parameters of the end-to-end graph."""
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    batch = next(anchor_loader(cfg, data_sets.training_roidb(cfg), symbol).batches())
    params = start_params(cfg, symbol, {desc.name: desc.shape for desc in batch.provide_data + batch.provide_label})
    return {name: value.asnumpy() for part in params for name, value in part.items()}


@pytest.fixture
def detector(tiny_cfg, tmp_path):
    """A function (classes, KEY=VALUE, ...) that writes a checkpoint of a detector of these classes -> KEY=VALUE to
    start from it.
    """
    def write(classes, *overrides, beside=False):
        # The tiny data set's labels do not matter here: its objects of other classes are left out.
        cfg = tiny_cfg('dataset.CLASSES=[%s]' % ','.join(classes), 'dataset.on_unknown_class=ignore', 'seed=5',
                       *overrides)
        params = {name: np.asarray(value) for name, value in start(cfg).items()}
        arrays = {name: mx.nd.array(value + 0.5) for name, value in params.items()}
        aux = {name: value for name, value in arrays.items() if 'moving' in name}
        checkpoint.save_params(str(tmp_path / 'old-0003.params'), {n: v for n, v in arrays.items() if n not in aux},
                               aux)
        if beside:
            (tmp_path / 'config.yaml').write_text(dump(cfg))
        return ['network.pretrained=%s' % (tmp_path / 'old'), 'network.pretrained_epoch=3']
    return write


def old_arrays(tmp_path):
    return {name: value.asnumpy() for name,
            value in checkpoint.load_params(str(tmp_path / 'old-0003.params'))[0].items()}


def by_class(array, classes):
    return array.reshape((classes + 1, -1) + array.shape[1:])


@pytest.mark.parametrize('told', ['by the configuration', 'by the file beside'])
@pytest.mark.parametrize('agnostic', ['true', 'false'])
def test_what_is_known_of_a_class_is_kept_for_the_class_of_that_name(told, agnostic, detector, tiny_cfg, tmp_path,
                                                                     caplog):
    kind = 'CLASS_AGNOSTIC=' + agnostic
    where = detector(['green', 'red', 'white'], kind, beside=told == 'by the file beside')
    names = ['network.PRETRAINED_CLASSES=[green, red, white]'] if told == 'by the configuration' else []
    with caplog.at_level('INFO'):
        new, old = start(tiny_cfg(kind, *(where + names))), old_arrays(tmp_path)     # blue, red
    for layer in ['rfcn_cls'] + ['rfcn_bbox'] * (agnostic == 'false'):
        now, before = by_class(new[layer + '_weight'], 2), by_class(old[layer + '_weight'], 3)
        np.testing.assert_array_equal(now[[0, 2]], before[[0, 2]])      # background and red
        # blue is new: a Gaussian around 0, not around 0.5
        assert abs(now[1].mean()) < 0.1
    np.testing.assert_array_equal(new['rpn_conv_3x3_weight'], old['rpn_conv_3x3_weight'])
    assert 'of 2 classes 1 are kept in rfcn_cls_weight, rfcn_cls_bias' in caplog.text
    assert ': red; these start from random values: blue' in caplog.text


def test_the_same_number_of_other_classes_is_not_taken_for_the_same(detector, tiny_cfg, tmp_path):
    where = detector(['red', 'blue'])
    new = start(tiny_cfg('network.PRETRAINED_CLASSES=[red, blue]', *where))     # now blue, red
    np.testing.assert_array_equal(by_class(new['rfcn_cls_bias'], 2),
                                  by_class(old_arrays(tmp_path)['rfcn_cls_bias'], 2)[[0, 2, 1]])


def test_without_names_rows_are_taken_in_their_order_with_a_warning(detector, tiny_cfg, tmp_path, caplog):
    new = start(tiny_cfg(*detector(['any', 'red'])))
    np.testing.assert_array_equal(new['rfcn_cls_weight'], old_arrays(tmp_path)['rfcn_cls_weight'])
    assert 'the classes that rfcn_cls_weight, rfcn_cls_bias tell apart are not known' in caplog.text


def test_where_a_class_is_added_to_unknown_ones_the_warning_says_what_keeps_them(detector, tiny_cfg, caplog):
    start(tiny_cfg(*detector(['any', 'red', 'white'])))
    assert 'tell apart are not known; set network.PRETRAINED_CLASSES to keep what is known of those' in caplog.text


def test_more_or_fewer_names_than_the_checkpoint_has_classes_are_refused(detector, tiny_cfg):
    where = detector(['any', 'red'])
    with pytest.raises(CheckpointError, match=r'rfcn_cls_weight has 27 rows, which 3 classes \(any, red, x\) and .* '
                                              r'Correct network.PRETRAINED_CLASSES'):
        start(tiny_cfg('network.PRETRAINED_CLASSES=[any, red, x]', *where))


def test_heads_of_another_shape_start_anew_and_are_listed_with_both_shapes(detector, tiny_cfg, caplog):
    where = detector(['green', 'red', 'white'])
    with caplog.at_level('INFO'):
        start(tiny_cfg('network.ANCHOR_SCALES=[1, 2]', 'symbol=small_rfcn_dcn', 'network.SMALL_CHANNELS=[4, 8, 8, 32]',
                       *where))
    assert 'rpn_cls_score_weight ((18, 16, 1, 1) there, (12, 16, 1, 1) needed)' in caplog.text
    # 9 bins of 4 and of 3 classes
    assert 'rfcn_cls_weight ((36, 16, 1, 1) there, (27, 16, 1, 1) needed)' in caplog.text
    assert 'are not in it and start from random values: ' in caplog.text and 'rfcn_cls_offset_t_weight' in caplog.text


def test_rows_of_another_k_are_listed_even_where_the_names_are_known(detector, tiny_cfg, caplog):
    where = detector(['green', 'red', 'white'])
    start(tiny_cfg('network.POOLED_SIZE=1', 'network.PRETRAINED_CLASSES=[green, red, white]', *where))
    assert 'rfcn_cls_weight ((36, 16, 1, 1) there, (3, 16, 1, 1) needed)' in caplog.text


def test_a_damaged_config_beside_a_checkpoint_is_warned_of(detector, tiny_cfg, tmp_path, caplog):
    where = detector(['any', 'red'])
    (tmp_path / 'config.yaml').write_text('no: [config')
    start(tiny_cfg(*where))
    assert 'config.yaml: what it says of the checkpoint beside it cannot be read' in caplog.text


def test_a_backbone_starts_only_the_network_that_its_note_tells_of(detector, tiny_cfg, tmp_path):
    where = detector(['any', 'red'])
    (tmp_path / 'old-0003.yaml').write_text('network: {POOL1: padded, STRIDE_IN_3X3: false}')
    with pytest.raises(CheckpointError, match="old-0003.params was .*: network.POOL1 was 'padded', now 'ceil'"):
        start(tiny_cfg(*where))
    start(tiny_cfg('network.POOL1=padded', *where))
    start(tiny_cfg('ALLOW_CHANGED=[network.POOL1]', *where))


def test_a_checkpoint_is_named_by_its_prefix_and_number_or_by_its_file(detector, tiny_cfg, tmp_path):
    where = detector(['blue', 'red'])
    os.rename(str(tmp_path / 'old-0003.params'), str(tmp_path / 'old-best.params'))
    with pytest.raises(FileNotFoundError, match='old-0003.params.*its folder has old-best.params'):
        start(tiny_cfg(*where))
    found = start(tiny_cfg('network.pretrained=%s' % (tmp_path / 'old-best.params')))
    expected = checkpoint.load_params(str(tmp_path / 'old-best.params'))[0]['rfcn_cls_weight']
    np.testing.assert_array_equal(found['rfcn_cls_weight'], expected.asnumpy())


def test_a_damaged_or_missing_checkpoint_is_named(detector, tiny_cfg, tmp_path):
    where = detector(['any', 'red'])
    (tmp_path / 'old-0003.params').write_bytes(b'damaged')
    with pytest.raises(CheckpointError, match='old-0003.params is damaged'):
        start(tiny_cfg(*where))
    with pytest.raises(FileNotFoundError, match='old-0009.params'):
        start(tiny_cfg(where[0], 'network.pretrained_epoch=9'))


def test_classes_are_found_by_name_whatever_their_spelling_and_by_the_other_words_of_coco():
    assert same_classes(COCO, VOC) == {'sofa': 'couch', 'person': 'person', 'pottedplant': 'potted plant',
                                       'motorbike': 'motorcycle'}


def test_the_rows_of_a_class_go_to_the_class_of_the_same_name_and_the_background_to_itself():
    # Two bins: rows 0, 1 are the background's, 2, 3 the first class's, 4, 5 the second's.
    given = {'rfcn_cls_weight': mx.nd.array(np.arange(12).reshape(6, 2, 1, 1)), 'rfcn_cls_bias': mx.nd.arange(6)}
    params = {'rfcn_cls_weight': mx.nd.full((8, 2, 1, 1), -1), 'rfcn_cls_bias': mx.nd.full((8,), -1)}
    assert move_rows(given, params, list(given), ['cat', 'dog'], ['dog', 'cow', 'cat']) == []
    assert params['rfcn_cls_bias'].asnumpy().tolist() == [0, 1, 4, 5, -1, -1, 2, 3]
    assert params['rfcn_cls_weight'].asnumpy()[:, 0, 0, 0].tolist() == [0, 2, 8, 10, -1, -1, 4, 6]


def test_rows_of_another_number_of_bins_are_not_moved_and_told():
    given, params = {'rfcn_cls_bias': mx.nd.arange(27)}, {'rfcn_cls_bias': mx.nd.full((147,), -1)}
    assert move_rows(given, params, ['rfcn_cls_bias'], ['cat', 'dog'], ['cat', 'dog']) == ['rfcn_cls_bias']
    assert (params['rfcn_cls_bias'].asnumpy() == -1).all()


def test_boxes_are_moved_only_where_they_are_class_specific():
    params = dict.fromkeys(['rfcn_cls_weight', 'rfcn_cls_bias', 'rfcn_bbox_weight', 'rfcn_bbox_bias', 'conv1_weight'])
    assert class_parameters(params, True) == ['rfcn_cls_weight', 'rfcn_cls_bias']
    assert class_parameters(params, False) == ['rfcn_cls_weight', 'rfcn_cls_bias', 'rfcn_bbox_weight', 'rfcn_bbox_bias']
