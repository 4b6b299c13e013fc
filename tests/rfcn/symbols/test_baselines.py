"""The detectors that R-FCN is compared with: their shapes, that they learn, and that wrong strides are refused."""
import numpy as np
import pytest

from lib.errors import ConfigError
from rfcn import data_sets, inference
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import load_config
from rfcn.evaluate import evaluate
from rfcn.symbols import make_symbol, symbols
from tests.rfcn.symbols.test_rfcn import CFG, end_to_end, shapes_of, silent_layers

# 14 bins, halved by conv5's stride, are 7 x 7 features a RoI.
FASTER = ['symbol=small_faster_rcnn', 'network.CONV5=stride32', 'network.POOLED_SIZE=14']
NAIVE = ['symbol=small_naive_rcnn']
CLASS_RPN = ['symbol=small_class_rpn']


def config(*overrides):
    return load_config(None, CFG + ['TEST.RPN_POST_NMS_TOP_N=20', 'TEST.RPN_PRE_NMS_TOP_N=50'] + list(overrides))


@pytest.mark.parametrize('bins', [1, 7])
@pytest.mark.parametrize('agnostic, sets', [('true', 2), ('false', 4)])
def test_the_naive_one_has_one_layer_on_pooled_features_of_conv5(bins, agnostic, sets):
    cfg = config(*NAIVE, 'network.POOLED_SIZE=%d' % bins, 'CLASS_AGNOSTIC=' + agnostic)
    shapes, outputs = shapes_of(make_symbol(cfg).get_symbol(is_train=False), data=(1, 3, 64, 96), im_info=(1, 3))
    assert shapes['rcnn_cls_weight'] == (4, 8 * bins * bins)  # 4 classes; 8 channels of conv_new_1
    assert shapes['rcnn_bbox_weight'] == (4 * sets, 8 * bins * bins)
    assert outputs == [(20, 5), (1, 20, 4), (1, 20, 4 * sets)]


def test_faster_rcnn_runs_conv5_on_every_roi():
    network = make_symbol(config(*FASTER))
    internals = network.get_symbol(is_train=False).get_internals()
    pooled, features = [shapes_of(internals[name + '_output'], data=(1, 3, 64, 96), im_info=(1, 3))[1][0]
                        for name in ('roi_pool', 'res5a')]
    assert pooled == (20, 8, 14, 14) and features == (20, 16, 7, 7)
    # What RPN and head share ends with conv4, so that alternating training may fix it.
    rpn, rcnn = [set(graph(is_train=False).list_arguments())
                 for graph in (network.get_symbol_rpn, network.get_symbol_rfcn)]
    assert not any('5' in name for name in rpn & rcnn)


def test_a_class_specific_rpn_answers_like_r_fcn_with_its_anchors_as_rois():
    cfg = config(*CLASS_RPN)
    shapes, outputs = shapes_of(make_symbol(cfg).get_symbol(is_train=False), data=(2, 3, 64, 96), im_info=(2, 3))
    assert shapes['rpn_cls_score_weight'] == (9 * 4, 8, 1, 1) and shapes['rpn_bbox_pred_weight'] == (9 * 4, 8, 1, 1)
    assert outputs == [(100, 5), (2, 50, 4), (2, 50, 8)]
    names = make_symbol(cfg).get_symbol(is_train=False).list_outputs()
    assert names == ['rois_output', 'cls_prob_output', 'bbox_pred_output']


@pytest.mark.parametrize('trunk', ['small', 'resnet_v1_18', 'resnet_v1_50'])
@pytest.mark.parametrize('detector, settings', [('naive_rcnn', []), ('faster_rcnn', FASTER[1:])])
def test_the_baselines_have_the_losses_of_r_fcn(trunk, detector, settings):
    cfg = config(*settings, 'symbol=%s_%s' % (trunk, detector), 'TRAIN.BATCH_IMAGES=2', 'TRAIN.BATCH_ROIS=-1',
                 'TRAIN.RPN_POST_NMS_TOP_N=10')
    outputs = shapes_of(make_symbol(cfg).get_symbol(is_train=True), **end_to_end(2))[1]
    assert outputs == [(2, 2, 36, 6), (2, 36, 4, 6), (2, 15, 4), (2, 15, 8), (2, 15)]


@pytest.mark.parametrize('overrides', [
    NAIVE, NAIVE + ['CLASS_AGNOSTIC=false', 'network.POOLED_SIZE=1'], FASTER, CLASS_RPN,
    CLASS_RPN + ['network.CONV5=stride32', 'network.RPN_FEAT_STRIDE=32']], ids=' '.join)
def test_every_layer_gets_a_gradient(training_graph, run, overrides):
    _, symbol, inputs = training_graph('TRAIN.BATCH_ROIS_OHEM=18', *overrides)
    assert silent_layers(run, symbol, inputs) == []


def test_the_labels_of_a_class_specific_rpn_are_classes(training_graph):
    _, _, inputs = training_graph('symbol=small_class_rpn', 'TRAIN.BATCH_IMAGES=6')
    assert set(np.unique(inputs['label'])) == {-1, 0, 1, 2}  # both classes of the tiny data set
    assert set(inputs) == {'data', 'label', 'bbox_target', 'bbox_weight'}


def test_a_class_specific_rpn_has_no_second_stage():
    network = make_symbol(config(*CLASS_RPN))
    with pytest.raises(ConfigError, match='small_class_rpn has one stage and makes no proposals'):
        network.get_symbol_rpn(is_train=False)
    with pytest.raises(ConfigError, match='takes no proposals; train it with rfcn train'):
        network.get_symbol_rfcn(is_train=True)
    assert network.get_symbol_rpn(is_train=True).list_outputs() == ['rpn_cls_prob_output', 'rpn_bbox_loss_output']
    with pytest.raises(ConfigError, match='CLASS_AGNOSTIC must be true'):
        make_symbol(config(*CLASS_RPN, 'CLASS_AGNOSTIC=false'))


@pytest.mark.parametrize('overrides, fault', [
    (['network.CONV5=stride32'], 'RCNN_FEAT_STRIDE is 16, but small_rfcn with network.CONV5 stride32 has 32 pixels'),
    (['network.RCNN_FEAT_STRIDE=32'], 'CONV5 atrous has 16 pixels per cell there: write RCNN_FEAT_STRIDE: 16'),
    (['network.RPN_FEAT_STRIDE=8'], 'RPN_FEAT_STRIDE is 8, .* has 16 pixels'),
    (FASTER + ['network.RCNN_FEAT_STRIDE=32'], 'small_faster_rcnn with network.CONV5 stride32 has 16 pixels'),
    (CLASS_RPN + ['network.CONV5=stride32'], 'RPN_FEAT_STRIDE is 16, .* has 32 pixels'),
])
def test_a_stride_that_is_not_the_networks_is_refused(overrides, fault):
    with pytest.raises(ConfigError, match=fault):
        make_symbol(config(*overrides))


@pytest.mark.parametrize('overrides', [FASTER, NAIVE, CLASS_RPN], ids=' '.join)
def test_the_baselines_detect_on_images_of_several_sizes(tiny_cfg, overrides):
    cfg = tiny_cfg(*overrides, 'TEST.SCORE_THRESH=0')
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    params = init_params(symbol, inference.input_shapes(cfg))[:2]
    imdb, = data_sets.datasets(cfg, 'test')
    _, all_boxes = evaluate(cfg, inference.predictor_of_params(cfg, *params, 'random'), imdb)
    for dets, entry in zip(all_boxes[1], imdb.gt_roidb()):
        assert len(dets) and dets[:, :4].min() >= 0 and (dets[:, 2:4] < [entry['width'], entry['height']]).all()


@pytest.mark.parametrize('count', [0, -1])
def test_a_class_specific_rpn_cannot_take_all_anchors(count):
    cfg = config(*CLASS_RPN, 'TEST.RPN_PRE_NMS_TOP_N=%d' % count)
    with pytest.raises(ConfigError, match='RPN_PRE_NMS_TOP_N is %d: .* 1 or more' % count):
        make_symbol(cfg)    # whatever it is made for: also before a training, whose validation would fail


def test_every_trunk_has_every_detector():
    assert len(symbols()) == 6 * 5 and 'resnet_v1_152_class_rpn' in symbols()
