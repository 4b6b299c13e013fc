"""The operator 'proposal': what it takes and gives; its arithmetic is that of lib/rpn/proposal.py."""
import mxnet as mx
import numpy as np
import pytest

from lib.errors import ConfigError
from lib.rpn.anchors import generate_anchors
from lib.rpn.proposal import propose
from rfcn.operator_py.proposal import ProposalProperty, native_ratios, proposal
from rfcn.symbols.rfcn import rpn_proposals

RATIOS, SCALES = (0.5, 1, 2), (2, 4)
A, H, W = 6, 5, 7
SETTINGS = dict(feature_stride=16, scales=SCALES, ratios=RATIOS, rpn_pre_nms_top_n=100, rpn_post_nms_top_n=12,
                threshold=0.6, rpn_min_size=8)
LIB_SETTINGS = dict(base_anchors=generate_anchors(16, RATIOS, SCALES), stride=16, pre_nms_top_n=100, post_nms_top_n=12,
                    nms_thresh=0.6, min_size=8)


def rpn_output(images=2):
    """Scores without ties, small deltas, im_info of one whole picture and of a smaller, padded one."""
    rng = np.random.RandomState(5)
    objects = ((rng.permutation(images * A * H * W) + 0.5) / (images * A * H * W)).reshape(images, A, H, W)
    im_info = np.array([[H * 16, W * 16, 1], [H * 16 - 16, W * 16 - 32, 2]][:images])
    values = np.concatenate((1 - objects, objects), axis=1), rng.randn(images, 4 * A, H, W) * 0.2, im_info
    return [value.astype(np.float32) for value in values]


def symbol_of(operator, **changes):
    inputs = {name: mx.sym.Variable(name) for name in ('cls_prob', 'bbox_pred', 'im_info')}
    return operator(name='rois', **inputs, **dict(SETTINGS, **changes))


def forward(symbol, arrays):
    names = 'cls_prob', 'bbox_pred', 'im_info'
    executor = symbol.bind(mx.cpu(), {name: mx.nd.array(value) for name, value in zip(names, arrays)})
    return [output.asnumpy() for output in executor.forward()]


def test_each_image_of_a_batch_gets_the_proposals_of_lib():
    arrays = rpn_output()
    np.random.seed(1)
    rois, scores = forward(symbol_of(proposal, output_score=True), arrays)
    np.random.seed(1)
    for i in range(2):
        boxes, box_scores = propose(arrays[0][i, A:], arrays[1][i], arrays[2][i], **LIB_SETTINGS)
        assert np.array_equal(rois[12 * i:12 * i + 12], np.insert(boxes, 0, i, axis=1))
        assert np.array_equal(scores[12 * i:12 * i + 12], box_scores)


def test_scores_are_given_only_where_asked_for():
    symbol = symbol_of(proposal)
    assert symbol.list_outputs() == ['rois_output']
    assert symbol_of(proposal, output_score=True).list_outputs() == ['rois_output', 'rois_score']
    assert symbol.infer_shape(cls_prob=(3, 2 * A, H, W), bbox_pred=(3, 4 * A, H, W))[1] == [(36, 5)]
    assert len(forward(symbol, rpn_output())) == 1


def test_proposals_lie_in_their_own_image_and_not_in_its_padding():
    rois, = forward(symbol_of(proposal), rpn_output())
    assert rois[12:, 1:].min() >= 0 and rois[12:, 3].max() <= W * 16 - 33 and rois[12:, 4].max() <= H * 16 - 17


@pytest.mark.parametrize('images', [1, 2])
def test_mxnets_own_operator_finds_the_same_proposals(images):
    """With whole cells, and fewer proposals asked for than there are: there the two do not differ."""
    arrays = rpn_output(images)
    arrays[2][:] = [H * 16, W * 16, 1]
    rois, scores = forward(symbol_of(proposal, output_score=True), arrays)
    native, native_scores = forward(symbol_of(mx.sym.contrib.MultiProposal, output_score=True), arrays)
    assert all(len(np.unique(rois[rois[:, 0] == i], axis=0)) == 12 for i in range(images))  # none is repeated
    np.testing.assert_allclose(rois, native, atol=1e-3)
    np.testing.assert_allclose(scores, native_scores, atol=1e-6)


@pytest.mark.parametrize('stride, ratios, scales', [
    (16, (0.5, 1.4, 1.93), (1, 2.3)), (32, (0.5,), (1, 1.3)),   # MXNet makes 13 x 18, 11 x 21; 45 x 23 of these itself
    (16, (0.5,), (1.414, 2.828))])                              # 23 * 1.414 / 1.414 is less than 23 in float32
def test_mxnets_own_operator_moves_the_anchors_that_are_trained(stride, ratios, scales):
    inputs = {name: mx.sym.Variable(name) for name in ('cls_score_two', 'bbox_pred', 'im_info')}
    anchors, cells, middle = generate_anchors(stride, ratios, scales), 21, 10
    symbol = rpn_proposals(**inputs, num_anchors=len(anchors), native=True, feature_stride=stride, ratios=ratios,
                           scales=scales, threshold=0.7, rpn_pre_nms_top_n=9, rpn_post_nms_top_n=1, rpn_min_size=0)
    for number, anchor in enumerate(anchors):
        scores = np.zeros((1, 2, len(anchors), cells, cells))
        scores[0, 1, number, middle, middle] = 1
        arrays = dict(cls_score_two=scores.reshape(1, 2, -1, cells), bbox_pred=np.zeros((1, 4 * len(anchors), cells,
                      cells)), im_info=[[cells * stride, cells * stride, 1]])
        executor = symbol.bind(mx.cpu(), {name: mx.nd.array(value) for name, value in arrays.items()})
        roi = executor.forward()[0].asnumpy()[0, 1:]
        np.testing.assert_allclose(roi, anchor + middle * stride, atol=1e-3)


def test_the_releases_ratios_stay_and_a_ratio_that_mxnet_cannot_make_is_refused():
    assert native_ratios(16, (0.5, 1, 2), (4, 8, 16, 32)) == (0.5, 1, 2)
    with pytest.raises(ConfigError, match=r'no anchors of 11 x 26 pixels \(ratio 2.321\)'):
        native_ratios(16, (0.5, 2.321), (8,))


def test_where_too_few_are_left_survivors_are_repeated():
    arrays = rpn_output()
    rois, = forward(symbol_of(proposal, threshold=0.01), arrays)
    native, = forward(symbol_of(mx.sym.contrib.MultiProposal, threshold=0.01), arrays)
    for values in rois, native:
        assert rois.shape == (24, 5) and np.array_equal(values[:, 0], np.repeat([0, 1], 12))
    assert len(np.unique(rois[:12], axis=0)) == len(np.unique(native[:12].round(2), axis=0)) < 12


def operator(output_score='true'):
    settings = '{"stride": 16, "pre_nms_top_n": 100, "post_nms_top_n": 12, "nms_thresh": 0.6, "min_size": 8}'
    return ProposalProperty('[2, 4]', '[0.5, 1, 2]', settings, output_score).create_operator(mx.cpu(), None, None)


def test_no_gradient_flows_through_the_choice():
    arrays = [mx.nd.array(value) for value in rpn_output()]
    outputs = [mx.nd.zeros((24, 5)), mx.nd.zeros((24, 1))]
    operator().forward(True, ['write', 'write'], arrays, outputs, [])
    assert outputs[0].asnumpy()[:, 1:].any() and outputs[1].asnumpy().any()
    gradients = [mx.nd.ones(array.shape) for array in arrays]
    operator().backward(['write'] * 3, [], arrays, outputs, gradients, [])
    assert not any(gradient.asnumpy().any() for gradient in gradients)
    added = [mx.nd.ones(array.shape) for array in arrays]
    operator().backward(['add'] * 3, [], arrays, outputs, added, [])
    assert all((gradient.asnumpy() == 1).all() for gradient in added)


def test_training_through_the_operator_leaves_its_inputs_without_gradient():
    arrays = {name: mx.nd.array(value) for name, value in zip(('cls_prob', 'bbox_pred', 'im_info'), rpn_output())}
    gradients = {name: mx.nd.ones(value.shape) for name, value in arrays.items()}
    executor = mx.sym.MakeLoss(mx.sym.sum(symbol_of(proposal))).bind(mx.cpu(), arrays, args_grad=gradients)
    executor.forward(is_train=True)
    executor.backward()
    assert not any(gradient.asnumpy().any() for gradient in gradients.values())
