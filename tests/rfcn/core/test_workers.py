"""What goes between workers: which sums, and how exact they are."""
import mxnet as mx
import numpy as np
import pytest

from rfcn.core.workers import Sums, Workers
from tests.rfcn.core.test_module import some_batch, started


class TwoWorkers:
    """A store in which the other worker gives what `other` says; it notes what is sent."""

    num_workers = 2

    def __init__(self, other=lambda array: array):
        self.other = other
        self.sent = []      # (name, dtype, priority)
        self.sums = {}

    def init(self, keys, arrays):
        self.sums.update(zip(keys, arrays))

    def push(self, key, arrays, priority=0):
        self.sent.append((key.partition(' ')[2], np.dtype(arrays[0].dtype).name, priority))
        self.sums[key] = arrays[0] + self.other(arrays[0])

    def pull(self, key, arrays, priority=0):
        arrays[0][:] = self.sums[key]


def test_layers_that_are_not_trained_send_nothing_and_the_others_their_gradient_once():
    batch, store = some_batch(1, seed=1), TwoWorkers()
    module = started(1, batch, fixed=['conv1', 'rpn_cls'], kvstore=store)
    for _ in range(2):
        module.step(batch)
    names = ['rpn_conv_3x3_weight', 'rpn_conv_3x3_bias', 'rpn_bbox_pred_weight', 'rpn_bbox_pred_bias']
    assert [name for name, *_ in store.sent] == names * 2
    assert {dtype for _, dtype, _ in store.sent} == {'float32'}
    assert sorted(key.partition(' ')[2] for key in store.sums) == sorted(names)


def half_sum(values, other, half=True):
    store = TwoWorkers(lambda array: (mx.nd.array(other) * (128 if half else 1)).astype(array.dtype))
    sums, arrays = Sums(store, 1), [mx.nd.array(values)]
    sums.add_keys({'weight': arrays}, half)
    sums.sum('weight', arrays)
    return arrays[0].asnumpy(), store.sent


def test_a_gradient_of_16_bits_has_the_error_of_its_numbers():
    rng = np.random.RandomState(0)
    mine, other = rng.randn(2, 1000).astype(np.float32) * [[1e-3], [2e-4]]
    exact, sent = half_sum(mine, other, half=False)
    assert np.array_equal(exact, (mine.astype(np.float32) + other.astype(np.float32))) and sent[0][1] == 'float32'
    found, sent = half_sum(mine, other)
    assert sent[0][1] == 'float16'
    # 11 bits: a number, and a sum, is off by up to 2^-11 of itself; below 2^-14 / 128 by up to 2^-25 / 128 = 2.3e-10
    bound = 2.0 ** -11 * (np.abs(mine) + np.abs(other) + np.abs(exact)) + 3 * 2.4e-10
    assert np.all(np.abs(found - exact) <= bound) and np.any(found != exact)
    assert np.linalg.norm(found - exact) < 4e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize('value, found', [(1e-6, 1e-6), (1e-9, 1e-9), (500.0, 500.0), (600.0, np.inf)])
def test_gradients_of_16_bits_reach_from_billionths_to_511(value, found):
    assert half_sum([value], [0.0])[0] == pytest.approx([found], rel=0.2)


def test_one_process_adds_its_devices_up_in_32_bits():
    sums = Sums('local', 2)
    arrays = [mx.nd.array([1 + 2.0 ** -20], mx.cpu(i)) for i in (0, 1)]
    sums.add_keys({'weight': arrays}, half=True)
    sums.sum('weight', arrays)
    assert arrays[0].asscalar() == arrays[1].asscalar() == 2 + 2.0 ** -19


def test_a_worker_that_failed_leaves_whatever_else_has_failed():
    worker = Workers.__new__(Workers)
    worker.failed = 'the disk is full'
    mx.nd.linalg.potrf(mx.nd.array([[-1.0]]))       # has no answer, and nobody has asked for it
    worker.leave()
    with pytest.raises(mx.base.MXNetError):
        mx.nd.waitall()
