"""The head: position-sensitive pooling and vote, and its losses."""
import mxnet as mx
import numpy as np
import pytest

from lib.psroi.psroi_pooling import psroi_pool
from rfcn.symbols.rfcn import RFCNHead, rcnn_losses


def some_rois(rng, count, images=2):
    """RoIs within 96 x 64 pixels, at halves of pixels, some leaving the image, one of a single pixel."""
    rois = np.hstack((rng.randint(images, size=(count, 1)),
                      rng.randint(-20, 200, size=(count, 4)) / 2.0)).astype(np.float32)
    rois[:, 3:] = np.maximum(rois[:, 1:3], rois[:, 3:])
    rois[0, 1:] = [5, 5, 5, 5]
    return rois


@pytest.mark.parametrize('k, output_dim', [(1, 3), (3, 4), (7, 2)])
def test_pooling_in_the_graph_equals_that_of_lib(k, output_dim):
    rng = np.random.RandomState(3)
    data, rois = rng.randn(2, output_dim * k * k, 4, 6).astype(np.float32), some_rois(rng, 40)
    pooled = mx.nd.contrib.PSROIPooling(mx.nd.array(data), mx.nd.array(rois), output_dim=output_dim, pooled_size=k,
                                        group_size=k, spatial_scale=1 / 16).asnumpy()
    np.testing.assert_allclose(pooled, psroi_pool(data, rois, 1 / 16, output_dim, k), atol=1e-5)


@pytest.mark.parametrize('k', [1, 3])
def test_the_vote_is_the_mean_of_the_bins_of_each_class(run, k):
    rng = np.random.RandomState(4)
    x, rois = rng.rand(2, 5, 4, 6).astype(np.float32), some_rois(rng, 10)
    head = RFCNHead(3, 2, bins=k, channels=5)
    scores, deltas = head.predict(mx.sym.Variable('x'), mx.sym.Variable('rois'))
    values = run(mx.sym.Group([scores, deltas]), {'x': x, 'rois': rois})
    parameters = {name: value.asnumpy() for name, value in values.arg_dict.items()}

    def convolved(maps, name):
        weight = parameters[name + '_weight'][:, :, 0, 0]
        return np.einsum('oc,bchw->bohw', weight, maps) + parameters[name + '_bias'][None, :, None, None]
    reduced = np.maximum(convolved(x, 'conv_new_1'), 0)
    for output, name, dim in zip(values.outputs, ('rfcn_cls', 'rfcn_bbox'), (3, 8)):
        pooled = psroi_pool(convolved(reduced, name), rois, 1 / 16, dim, k)
        np.testing.assert_allclose(output.asnumpy(), pooled.mean(axis=(2, 3)), atol=1e-5)


def test_deformable_pooling_without_offsets_stays_in_its_bins(run):
    """First values of offsets are zero, so constant maps give their constants wherever a RoI lies inside the image."""
    head = RFCNHead(3, 2, bins=3, channels=5, deformable=True)
    scores, _ = head.predict(mx.sym.Variable('x'), mx.sym.Variable('rois'))
    rois = np.array([[0, 8, 8, 60, 40], [0, 16, 0, 79, 47]], dtype=np.float32)
    values = run(scores, {'x': np.ones((1, 5, 4, 6), dtype=np.float32), 'rois': rois})
    weights = {name: value.asnumpy() for name, value in values.arg_dict.items()}
    reduced = np.maximum(weights['conv_new_1_weight'].sum(axis=(1, 2, 3)) + weights['conv_new_1_bias'], 0)
    maps = weights['rfcn_cls_weight'][:, :, 0, 0] @ reduced + weights['rfcn_cls_bias']
    np.testing.assert_allclose(values.outputs[0].asnumpy(), np.tile(maps.reshape(3, 9).mean(axis=1), (2, 1)), rtol=1e-4,
                               atol=1e-6)


def losses(ohem, rois_per_image=2):
    """Two images of three RoIs; the second of each image is padding."""
    names = 'score', 'box', 'label', 'target', 'weight'
    inputs = [mx.sym.Variable(name) for name in names]
    outputs = rcnn_losses(*inputs, batch_images=2, rois_per_image=rois_per_image, ohem=ohem)
    values = dict(score=np.zeros((6, 2), dtype=np.float32), box=np.zeros((6, 4), dtype=np.float32),
                  label=np.array([1, -1, 0, 1, -1, 0], dtype=np.float32),
                  target=np.tile(np.array([[2], [9], [9], [0.5], [9], [9]], dtype=np.float32), 4),
                  weight=np.tile(np.array([[1], [0], [0], [1], [0], [0]], dtype=np.float32), 4))
    symbol = mx.sym.Group(list(outputs))
    executor = symbol.simple_bind(mx.cpu(),
                                  grad_req={name: 'write' if name in ('score', 'box') else 'null' for name in names},
                                  **{name: value.shape for name, value in values.items()})
    executor.copy_params_from({name: mx.nd.array(value) for name, value in values.items()})
    executor.forward(is_train=True)
    executor.backward()
    return executor


@pytest.mark.parametrize('ohem', [False, True])
def test_padding_of_label_minus_one_does_not_train(ohem):
    executor = losses(ohem)
    # Softmax of (0, 0) is (0.5, 0.5); the gradient p - y is shared out to the four RoIs that count: 0.5 / 4 = 0.125
    expected = [[0.125, -0.125], [0, 0], [-0.125, 0.125]] * 2
    np.testing.assert_allclose(executor.grad_dict['score'].asnumpy(), expected, atol=1e-6)
    # Smooth L1: the gradient of -2 is -1, of -0.5 is -0.5; divided by 2 RoIs x 2 images
    expected = np.tile([[-0.25], [0], [0], [-0.125], [0], [0]], 4)
    np.testing.assert_allclose(executor.grad_dict['box'].asnumpy(), expected, atol=1e-6)
    # |2| - 0.5 = 1.5 and 0.5 * 0.5^2 = 0.125, before the division
    np.testing.assert_allclose(executor.outputs[1].asnumpy()[:, 0], [1.5, 0, 0, 0.125, 0, 0], atol=1e-6)


def test_where_all_rois_train_the_box_loss_is_divided_by_those_that_are_there():
    expected = np.tile([[-1 / 6], [0], [0], [-0.5 / 6], [0], [0]], 4)
    np.testing.assert_allclose(losses(False, rois_per_image=-1).grad_dict['box'].asnumpy(), expected, atol=1e-6)
