"""The six training metrics."""
import json

import mxnet as mx
import numpy as np
import pytest

from rfcn.core.metric import TrainingMetrics, classification


def test_ignored_rows_count_nowhere():
    prob = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.25, 0.75]])
    right, log_loss, count = classification(prob, np.array([0, 0, -1, 1]))
    assert (right, count) == (2, 3)  # the second is wrong, the third does not count
    assert log_loss == pytest.approx(-np.log(0.9) - np.log(0.2) - np.log(0.75))


def test_a_probability_of_zero_has_a_large_but_finite_loss():
    assert classification(np.array([[1.0, 0.0]]), np.array([1]))[1] == pytest.approx(-np.log(1e-14))


def rpn_step(box_loss=3.0):
    """One anchor at four cells: an object found, background taken for an object, two ignored."""
    prob = np.array([[0.4, 0.3, 0.5, 0.5], [0.6, 0.7, 0.5, 0.5]]).reshape(1, 2, 1, 4)
    return {'rpn_label': np.array([[1, 0, -1, -1]])}, {'rpn_cls_prob': prob, 'rpn_bbox_loss': np.array([[box_loss, 0]])}


def rcnn_step():
    """Two images of two RoIs: a right class 2, a background taken for class 1; one wrong class 1, one ignored."""
    prob = np.array([[[0.1, 0.1, 0.8], [0.3, 0.6, 0.1]], [[0.5, 0.2, 0.3], [0.2, 0.2, 0.6]]])
    return {'rcnn_label': np.array([[2, 0], [1, -1]])}, {'cls_prob': prob, 'bbox_loss': np.full((2, 2, 8), 0.25)}


def test_the_rpn_is_measured_over_its_sampled_anchors():
    step = TrainingMetrics().update(*rpn_step())
    # 1 of 2 right; -(log 0.6 + log 0.3) / 2; the box loss is shared out to both sampled anchors: 3 / 2
    assert dict(step) == {'RPNAcc': 0.5, 'RPNLogLoss': pytest.approx(-(np.log(0.6) + np.log(0.3)) / 2),
                          'RPNL1Loss': 1.5}


def test_the_head_is_measured_over_the_rois_that_count():
    step = TrainingMetrics().update(*rcnn_step())
    # box losses add up to 32 * 0.25 = 8, shared out to the three RoIs that count, background too
    assert step['RCNNAcc'] == pytest.approx(1 / 3)
    assert step['RCNNLogLoss'] == pytest.approx(-(np.log(0.8) + np.log(0.3) + np.log(0.2)) / 3)
    assert step['RCNNL1Loss'] == pytest.approx(8 / 3)


def test_only_what_the_graph_gives_is_measured():
    metrics = TrainingMetrics()
    metrics.update(*rpn_step())
    assert list(metrics.get()) == ['RPNAcc', 'RPNLogLoss', 'RPNL1Loss']
    metrics.update(*[dict(a, **b) for a, b in zip(rpn_step(), rcnn_step())])
    assert list(metrics.get()) == ['RPNAcc', 'RPNLogLoss', 'RPNL1Loss', 'RCNNAcc', 'RCNNLogLoss', 'RCNNL1Loss']


def test_means_are_over_the_rows_of_all_steps_since_the_reset():
    metrics = TrainingMetrics()
    metrics.update(*rpn_step(box_loss=1.0))
    metrics.update(*rpn_step(box_loss=3.0))
    assert metrics.get()['RPNL1Loss'] == 1.0  # (1 + 3) / (2 + 2)
    metrics.reset()
    assert not metrics.get()
    metrics.update(*rpn_step(box_loss=5.0))
    assert metrics.get()['RPNL1Loss'] == 2.5


def test_a_step_in_which_nothing_counts_does_not_divide_by_zero():
    labels, outputs = rcnn_step()
    outputs['bbox_loss'] *= 0
    assert set(TrainingMetrics().update({'rcnn_label': np.full((2, 2), -1)}, outputs).values()) == {0.0}


def test_arrays_of_mxnet_are_taken_too():
    labels, outputs = rpn_step()
    values = [{name: mx.nd.array(value) for name, value in part.items()} for part in (labels, outputs)]
    assert TrainingMetrics().update(*values)['RPNAcc'] == 0.5


def test_the_metrics_of_the_release_come_out_for_its_arrays(golden):
    with open(str(golden / 'metrics.json')) as file:
        cases = json.load(file)
    arrays = np.load(str(golden / 'metrics.npz'))
    for variant, expected in cases.items():
        metrics = TrainingMetrics()
        for step in 0, 1:
            values = {name: arrays['%s_%d_%s' % (variant, step, name)]
                      for name in ('rpn_label', 'rcnn_label', 'rpn_cls_prob', 'rpn_bbox_loss', 'cls_prob', 'bbox_loss')}
            metrics.update({}, values)
        assert dict(metrics.get()) == pytest.approx(expected, rel=1e-5)
