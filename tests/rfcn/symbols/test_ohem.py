"""Hard examples in the graph are those of lib/rcnn/sample_rois.py."""
import mxnet as mx
import numpy as np
import pytest

from lib.rcnn.sample_rois import box_annotator_ohem as ohem_of_lib
from rfcn.symbols.rfcn import box_annotator_ohem

NAMES = 'cls_score', 'bbox_pred', 'labels', 'bbox_targets', 'bbox_weights'


def some_rois(count, classes=4, seed=0):
    """Scores, deltas, labels, targets, weights of RoIs."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(classes, size=count)
    weights = np.repeat((labels > 0)[:, None], 8, axis=1)
    arrays = rng.randn(count, classes) * 3, rng.randn(count, 8), labels, rng.randn(count, 8), weights
    return [array.astype(np.float32) for array in arrays]


def forward(arrays, images, rois_per_image):
    symbol = mx.sym.Group(list(box_annotator_ohem(*[mx.sym.Variable(name) for name in NAMES], batch_images=images,
                                                  rois_per_image=rois_per_image)))
    executor = symbol.bind(mx.cpu(), {name: mx.nd.array(value) for name, value in zip(NAMES, arrays)})
    return [output.asnumpy() for output in executor.forward()]


def by_lib(arrays, images, rois_per_image):
    parts = [ohem_of_lib(*part, roi_per_img=rois_per_image)
             for part in zip(*[np.split(array, images) for array in arrays])]
    return [np.concatenate(values) for values in zip(*parts)]


@pytest.mark.parametrize('images, count, kept', [(1, 30, 8), (2, 30, 8), (3, 300, 64), (1, 5, 8), (2, 10, 5)])
def test_the_hardest_rois_of_each_image_are_kept(images, count, kept):
    arrays = some_rois(images * (count // images))
    for output, expected in zip(forward(arrays, images, kept), by_lib(arrays, images, kept)):
        assert np.array_equal(output, expected)
    labels = forward(arrays, images, kept)[0].reshape(images, -1)
    assert ((labels >= 0).sum(axis=1) == min(kept, labels.shape[1])).all()


def test_rois_of_label_minus_one_are_never_kept():
    arrays = some_rois(20)
    arrays[2][::2] = -1
    arrays[0][::2] = -50  # a loss that would be large for any label
    labels, weights = forward(arrays, 1, 12)
    assert (labels[::2] == -1).all() and not weights[::2].any()
    assert np.array_equal(labels[1::2], arrays[2][1::2])  # the ten others all stay
    for output, expected in zip((labels, weights), by_lib(arrays, 1, 12)):
        assert np.array_equal(output, expected)


@pytest.mark.parametrize('rois_per_image', [3, 16, 40])
def test_of_equal_losses_exactly_as_many_are_kept_as_asked_for(rois_per_image):
    arrays = [np.repeat(array[:1], 40, axis=0) for array in some_rois(1, seed=1)]
    labels, _ = forward(arrays, 1, rois_per_image)
    assert (labels >= 0).sum() == rois_per_image


def test_which_of_equal_losses_is_kept_does_not_change_the_loss():
    arrays = [np.repeat(array, 2, axis=0) for array in some_rois(20)]  # every loss twice
    labels, weights = forward(arrays, 1, 13)
    expected_labels, expected_weights = by_lib(arrays, 1, 13)
    assert sorted(labels) == sorted(expected_labels)
    assert weights.sum() == expected_weights.sum()


def test_probabilities_that_underflow_have_a_finite_loss():
    arrays = some_rois(4)
    arrays[0][:] = 0
    arrays[0][2] = [500, -500, 0, 0]
    arrays[2][:] = [0, 0, 1, 0]
    labels, _ = forward(arrays, 1, 1)
    assert np.array_equal(labels, [-1, -1, 1, -1])


def test_no_gradient_flows_through_the_choice():
    arrays = {name: mx.nd.array(value) for name, value in zip(NAMES, some_rois(10))}
    gradients = {name: mx.nd.ones(value.shape) for name, value in arrays.items()}
    labels, weights = box_annotator_ohem(*[mx.sym.Variable(name) for name in NAMES], batch_images=1, rois_per_image=4)
    loss = mx.sym.MakeLoss(mx.sym.sum(labels) + mx.sym.sum(weights))
    executor = loss.bind(mx.cpu(), arrays, args_grad=gradients)
    executor.forward(is_train=True)
    executor.backward()
    assert not any(gradient.asnumpy().any() for gradient in gradients.values())
