"""The operator 'proposal_target': what it takes and gives; its arithmetic is that of lib/rcnn/sample_rois.py."""
import json

import mxnet as mx
import numpy as np
import pytest

from lib.rcnn.sample_rois import proposal_target as compute_targets
from rfcn.operator_py.proposal_target import ProposalTargetProperty, proposal_target

SETTINGS = dict(fg_fraction=0.25, fg_thresh=0.5, bg_thresh_hi=0.5, bg_thresh_lo=0.0, class_agnostic=False,
                bbox_weights=[1.0, 1.0, 1.0, 1.0], bbox_means=[0.0, 0.0, 0.0, 0.0], bbox_stds=[0.1, 0.1, 0.2, 0.2])


def some_rois(rois_per_image=10):
    """RoIs of two images; the first has two objects of at most three, the second has none."""
    rng = np.random.RandomState(2)
    corner = rng.randint(0, 60, size=(2 * rois_per_image, 2))
    boxes = np.hstack((corner, corner + rng.randint(8, 40, size=corner.shape)))
    rois = np.hstack((np.repeat([[0], [1]], rois_per_image, axis=0), boxes)).astype(np.float32)
    gt_boxes = np.full((2, 3, 5), -1, dtype=np.float32)
    gt_boxes[0, :2] = [[10, 10, 40, 40, 1], [30, 30, 70, 60, 2]]
    return rois, gt_boxes


def forward(rois, gt_boxes, batch_rois):
    symbol = proposal_target(mx.sym.Variable('rois'), mx.sym.Variable('gt_boxes'), num_reg_classes=3,
                             batch_rois=batch_rois, **SETTINGS)
    names = 'rois_output', 'label', 'bbox_target', 'bbox_weight'
    assert symbol.list_outputs() == ['proposal_target_' + name for name in names]
    executor = symbol.bind(mx.cpu(), {'rois': mx.nd.array(rois), 'gt_boxes': mx.nd.array(gt_boxes)})
    return [output.asnumpy() for output in executor.forward()]


@pytest.mark.parametrize('batch_rois, rows', [(-1, 26), (8, 8)])
def test_the_targets_are_those_of_lib(batch_rois, rows):
    rois, gt_boxes = some_rois()
    np.random.seed(3)
    outputs = forward(rois, gt_boxes, batch_rois)
    np.random.seed(3)
    expected = compute_targets(rois, gt_boxes, batch_rois=batch_rois, num_classes=3, **SETTINGS)
    for output, value in zip(outputs, expected):
        assert len(output) == rows and np.array_equal(output, np.asarray(value, dtype=np.float32))


def test_padding_rows_of_objects_train_nothing():
    rois, gt_boxes = some_rois()
    out_rois, labels, _, weights = forward(rois, gt_boxes, -1)
    # Each image: 10 proposals and 3 rows of objects. The first has two objects and a row of padding, the second three.
    assert np.array_equal(out_rois[:, 0], np.repeat([0, 1], 13))
    assert (labels[:13] == -1).sum() == 1 and (labels[13:] == -1).sum() == 3
    assert not weights[labels < 1].any()
    assert (labels[13:23] == 0).all()  # an image without objects is background
    assert {1, 2} <= set(labels[:13])  # the objects themselves are RoIs
    assert (weights[labels > 0].sum(axis=1) == 4).all()


def test_rois_that_cannot_be_shared_out_are_an_error():
    rois, gt_boxes = some_rois()
    with pytest.raises(ValueError, match='7 RoIs cannot be shared out equally to 2 images'):
        compute_targets(rois, gt_boxes, batch_rois=7, num_classes=3, **SETTINGS)


def test_the_operator_writes_its_outputs_and_no_gradient():
    rois, gt_boxes = (mx.nd.array(value) for value in some_rois())
    prop = ProposalTargetProperty('3', '-1', json.dumps(SETTINGS))
    assert prop.list_arguments() == ['rois', 'gt_boxes']
    _, shapes, _ = prop.infer_shape([[20, 5], [2, 3, 5]])
    assert shapes == [[26, 5], [26], [26, 12], [26, 12]]
    operator = prop.create_operator(mx.cpu(), None, None)
    outputs = [mx.nd.zeros(tuple(shape)) for shape in shapes]
    operator.forward(True, ['write'] * 4, [rois, gt_boxes], outputs, [])
    assert outputs[3].asnumpy().any()
    gradients = [mx.nd.ones(rois.shape), mx.nd.ones(gt_boxes.shape)]
    operator.backward(['write'] * 2, prop.declare_backward_dependency([], [], []), [rois, gt_boxes], outputs, gradients,
                      [])
    assert not gradients[0].asnumpy().any() and not gradients[1].asnumpy().any()
