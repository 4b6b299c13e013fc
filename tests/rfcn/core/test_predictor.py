"""The test graph on batches of any size."""
import mxnet as mx
import numpy as np

from rfcn.checkpoints.pretrained import init_params
from rfcn.core.detect import Predictor
from rfcn.core.loader import Batch


def batch_of(images, height, width, seed=0):
    data = np.random.RandomState(seed).randn(images, 3, height, width)
    return Batch(dict(data=data), {}, pad=0, images=[])


def predictor_of(devices=1):
    """Two convolutions; the second output goes through a Reshape, as those of the real graphs do."""
    x = mx.sym.Convolution(mx.sym.Variable('data'), name='conv', kernel=(3, 3), num_filter=2)
    symbol = mx.sym.Group([x, mx.sym.Reshape(x, shape=(0, -1), name='flat_reshape')])
    params = init_params(symbol, {'data': (1, 3, 8, 8)})[:2]
    return Predictor(symbol, ['data'], [mx.cpu(i) for i in range(devices)], *params)


def test_outputs_are_arrays_under_their_plain_names():
    outputs = predictor_of().predict(batch_of(2, 8, 10))
    assert {name: value.shape for name, value in outputs.items()} == {'conv': (2, 2, 6, 8), 'flat': (2, 96)}
    assert all(isinstance(value, np.ndarray) for value in outputs.values())


def test_batches_of_other_sizes_give_what_a_new_predictor_gives():
    used = predictor_of()
    for number, size in enumerate([(2, 8, 10), (1, 20, 12), (2, 8, 10), (3, 6, 6)]):
        batch = batch_of(*size, seed=number)
        np.testing.assert_allclose(used.predict(batch)['conv'], predictor_of().predict(batch)['conv'], atol=1e-6)


def test_mxnet_prints_nothing_at_a_larger_batch(capfd):
    used = predictor_of()
    for side in (8, 10, 12, 14):
        used.predict(batch_of(1, side, side))
    assert capfd.readouterr() == ('', '')


def test_each_device_sees_a_batch_of_its_own_shape():
    batches = [batch_of(2, 8, 8), batch_of(1, 12, 10, seed=1)]
    found = predictor_of(2).predict_each(batches)
    for batch, outputs in zip(batches, found):
        np.testing.assert_allclose(outputs['conv'], predictor_of().predict(batch)['conv'], atol=1e-6)
    assert len(predictor_of(2).predict_each(batches[:1])) == 1  # the last batches need not be enough for all


def test_only_the_latest_sizes_stay_bound_and_what_is_bound_anew_gives_the_same():
    used = predictor_of()
    first = used.predict(batch_of(1, 8, 8))['conv']
    for side in (9, 10, 11):
        used.predict(batch_of(1, side, side))
        assert len(used._modules[0]) == 2
    assert np.array_equal(used.predict(batch_of(1, 8, 8))['conv'], first)
    assert [shapes[0][2] for shapes in used._modules[0]] == [11, 8]
