"""Checkpoints and detections that the release wrote work here."""
import logging
import pickle
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from lib.utils.safe_load import load_pickle
from rfcn import inference, train_end2end
from rfcn.checkpoints import checkpoint
from rfcn.config.config import load_config
from rfcn.core.detect import save_detections
from rfcn.symbols import make_symbol

CFGS = Path(__file__).resolve().parents[2] / 'experiments' / 'rfcn' / 'cfgs'


def release_parameters(num_classes, num_anchors, deformable):
    """Name -> shape of every parameter in a checkpoint of the release, written down from its naming."""
    shapes = {'conv1_weight': (64, 3, 7, 7), 'rpn_conv_3x3_weight': (512, 1024, 3, 3), 'rpn_conv_3x3_bias': (512,),
              'conv_new_1_weight': (1024, 2048, 1, 1), 'conv_new_1_bias': (1024,)}
    heads = {'rpn_cls_score': (2 * num_anchors, 512), 'rpn_bbox_pred': (4 * num_anchors, 512),
             'rfcn_cls': (49 * num_classes, 1024), 'rfcn_bbox': (49 * 4 * 2, 1024)}
    if deformable:
        heads.update(rfcn_cls_offset_t=(49 * 2 * num_classes, 1024), rfcn_bbox_offset_t=(49 * 2, 1024))
    for name, (outputs, inputs) in heads.items():
        shapes.update({name + '_weight': (outputs, inputs, 1, 1), name + '_bias': (outputs,)})
    norms, inputs = {'bn_conv1': 64}, 64
    units = {2: 'abc', 3: ['a', 'b1', 'b2', 'b3'], 4: ['a'] + ['b%d' % i for i in range(1, 23)], 5: 'abc'}
    for stage, letters in units.items():
        width = 64 * 2 ** (stage - 2)
        for letter in letters:
            unit = '%d%s_branch' % (stage, letter)
            branches = {'2a': (width, inputs, 1), '2b': (width, width, 3), '2c': (4 * width, width, 1)}
            if letter == 'a':
                branches['1'] = (4 * width, inputs, 1)
            for branch, (outputs, channels, kernel) in branches.items():
                shapes['res%s%s_weight' % (unit, branch)] = (outputs, channels, kernel, kernel)
                norms['bn%s%s' % (unit, branch)] = outputs
            if deformable and stage == 5:  # 2 numbers for each of 9 points and 4 groups
                shapes['res%s2b_offset_weight' % unit], shapes['res%s2b_offset_bias' % unit] = (72, width, 3, 3), (72,)
            inputs = 4 * width
    for name, channels in norms.items():
        shapes.update({name + end: (channels,) for end in ('_gamma', '_beta', '_moving_mean', '_moving_var')})
    return shapes


class Shaped:
    """Stands for an array of which only the shape is asked for."""

    def __init__(self, shape):
        self.shape = shape


@pytest.mark.parametrize('name, num_classes, num_anchors, deformable', [
    ('resnet_v1_101_voc0712_rfcn_end2end_ohem', 21, 9, False),
    ('resnet_v1_101_coco_trainval_rfcn_end2end_ohem', 81, 12, False),
    ('resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem', 21, 9, True)])
def test_a_checkpoint_of_the_release_has_just_the_parameters_that_our_graphs_need(
        name, num_classes, num_anchors, deformable, caplog):
    cfg = load_config(CFGS / (name + '.yaml'))
    params = {key: Shaped(shape) for key, shape in release_parameters(num_classes, num_anchors, deformable).items()}
    arg_params = {key: value for key, value in params.items() if '_moving_' not in key}
    aux_params = {key: value for key, value in params.items() if '_moving_' in key}
    height, width = 10, 14
    testing = {'data': (1, 3, 160, 224), 'im_info': (1, 3)}
    training = dict(testing, gt_boxes=(1, 3, 5), label=(1, num_anchors * height * width),
                    bbox_target=(1, 4 * num_anchors, height, width), bbox_weight=(1, 4 * num_anchors, height, width))
    with caplog.at_level(logging.INFO):
        for is_train, inputs in ((False, testing), (True, training)):
            checkpoint.check_params(make_symbol(cfg).get_symbol(is_train), inputs, arg_params, aux_params, name)
    assert not caplog.records  # nothing superfluous either


@pytest.fixture
def release_checkpoint(tiny_params, tmp_path):
    """A function (name=array, or name=None to leave it out) -> prefix of a checkpoint as the release writes it.

    Of epoch 1: names with arg: and aux:, fc1000 left over from the classification network, a pickled optimizer.
    """
    def write(**changes):
        arrays = mx.nd.load(tiny_params)
        arrays.update({'arg:fc1000_weight': mx.nd.zeros((1000, 16)), 'arg:fc1000_bias': mx.nd.zeros((1000,))})
        for name, value in changes.items():
            arrays.pop('arg:' + name) if value is None else arrays.update({'arg:' + name: value})
        prefix = tmp_path / 'tiny'
        mx.nd.save('%s-0001.params' % prefix, arrays)
        Path('%s-0001.states' % prefix).write_bytes(pickle.dumps({0: np.zeros(3), 1: None}, protocol=2))
        return str(prefix)
    return write


def loaded(cfg, prefix):
    """arg_params of the network for testing."""
    return inference.predictor(cfg, checkpoint.params_path(prefix, 1)).params[0]


def test_testing_takes_the_box_weights_for_testing(release_checkpoint, tiny_cfg):
    arrays = mx.nd.load(checkpoint.params_path(release_checkpoint(), 1))
    weight, test_weight = arrays['arg:rfcn_bbox_weight'].asnumpy(), arrays['arg:rfcn_bbox_weight_test'].asnumpy()
    assert not np.allclose(weight, test_weight)
    params = loaded(tiny_cfg(), release_checkpoint())
    assert (params['rfcn_bbox_weight'].asnumpy() == test_weight).all() and 'rfcn_bbox_weight_test' not in params


def test_testing_takes_the_plain_box_weights_where_there_are_no_others(release_checkpoint, tiny_cfg):
    prefix = release_checkpoint(rfcn_bbox_weight_test=None, rfcn_bbox_bias_test=None)
    plain = mx.nd.load(checkpoint.params_path(prefix, 1))['arg:rfcn_bbox_weight'].asnumpy()
    assert (loaded(tiny_cfg(), prefix)['rfcn_bbox_weight'].asnumpy() == plain).all()


def test_box_weights_that_may_be_normalised_are_warned_of(release_checkpoint, tiny_cfg, caplog):
    def warnings(prefix, *overrides):
        caplog.clear()
        loaded(tiny_cfg(*overrides), prefix)
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    prefix = release_checkpoint(rfcn_bbox_weight_test=None, rfcn_bbox_bias_test=None)
    message, = warnings(prefix)
    assert message.startswith(prefix) and 'has no rfcn_bbox_weight_test: the box layer is used as it is' in message
    assert warnings(prefix, 'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED=false') == warnings(release_checkpoint()) == []


def test_superfluous_parameters_are_reported_and_ignored(release_checkpoint, tiny_cfg, caplog):
    with caplog.at_level(logging.INFO):
        loaded(tiny_cfg(), release_checkpoint())
    message, = [record.getMessage() for record in caplog.records if 'ignored' in record.getMessage()]
    assert 'ignored 2 parameters that the network does not have: fc1000_bias, fc1000_weight' in message


def test_missing_and_misshapen_parameters_are_listed_in_one_error(release_checkpoint, tiny_cfg):
    prefix = release_checkpoint(conv1_weight=mx.nd.zeros((64, 3, 7, 7)), rpn_cls_score_bias=None, rfcn_cls_weight=None)
    with pytest.raises(CheckpointError) as error:
        loaded(tiny_cfg(), prefix)
    message = str(error.value)
    assert prefix in message and '(3 parameters)' in message
    for fault in ('conv1_weight has shape (64, 3, 7, 7), (4, 3, 3, 3) expected', 'rpn_cls_score_bias is missing',
                  'rfcn_cls_weight is missing'):
        assert fault in message


def test_training_resumes_from_a_checkpoint_of_the_release(release_checkpoint, tiny_cfg, tmp_path, caplog):
    prefix = release_checkpoint()
    start = mx.nd.load(prefix + '-0001.params')
    cfg = tiny_cfg('TRAIN.RESUME=true', 'TRAIN.begin_epoch=1', 'TRAIN.end_epoch=2', 'TRAIN.lr=0.0')
    with caplog.at_level(logging.WARNING):
        train_end2end.train_net(cfg, tmp_path)
    assert any('resumed without momentum' in record.getMessage() for record in caplog.records)  # theirs is a pickle
    arrays = mx.nd.load(prefix + '-0002.params')
    # At a rate of 0 the normalised weights stay what they were: those for testing were not taken for them.
    assert (arrays['arg:rfcn_bbox_weight'].asnumpy() == start['arg:rfcn_bbox_weight'].asnumpy()).all()
    weights = [params['arg:rfcn_bbox_weight_test'].asnumpy() for params in (arrays, start)]
    np.testing.assert_allclose(*weights)


def test_the_states_of_the_release_stay_where_a_validation_scores_their_parameters_first(release_checkpoint, tiny_cfg,
                                                                                         tmp_path):
    states = Path(release_checkpoint() + '-0001.states')
    before = states.read_bytes()
    train_end2end.train_net(tiny_cfg('TRAIN.RESUME=true', 'TRAIN.begin_epoch=1', 'TRAIN.end_epoch=2',
                                     'dataset.val_image_set=val'), tmp_path)
    assert states.read_bytes() == before and states.with_name('tiny-best.params').exists()


def test_the_detections_pickle_is_a_list_over_classes_of_lists_over_images(tmp_path):
    found = np.array([[1, 2, 3, 4, 0.5]], dtype=np.float32)
    none = np.zeros((0, 5), dtype=np.float32)
    all_boxes = [[none, none], [found, none], [none, np.repeat(found, 2, axis=0)]]  # three classes, two images
    save_detections(all_boxes, str(tmp_path / 'detections.pkl'))
    with open(str(tmp_path / 'detections.pkl'), 'rb') as file:
        again = pickle.load(file)  # with nothing but the standard library and NumPy
    assert type(again) is list and [[boxes.shape for boxes in images] for images in again] == [
        [(0, 5), (0, 5)], [(1, 5), (0, 5)], [(0, 5), (2, 5)]]
    assert (again[1][0] == found).all()


def test_a_detections_pickle_of_the_release_is_read(tmp_path):
    # Python 2 pickles of protocol 2, whose empty entries are lists.
    with open(str(tmp_path / 'detections.pkl'), 'wb') as file:
        pickle.dump([[[], []], [np.zeros((2, 5)), np.zeros((0, 5))]], file, protocol=2)
    again = load_pickle(str(tmp_path / 'detections.pkl'))
    assert again[0] == [[], []] and again[1][0].shape == (2, 5)
