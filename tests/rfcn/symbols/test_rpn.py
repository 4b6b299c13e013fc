"""The region proposal network: its losses."""
import mxnet as mx
import numpy as np

from rfcn.symbols.rfcn import rpn_losses, two_class_view


def test_background_scores_of_all_anchors_come_before_those_of_objects():
    scores = np.arange(2 * 3 * 2 * 2).reshape(1, 6, 2, 2)  # three anchors, 2 x 2 cells
    executor = two_class_view(mx.sym.Variable('scores')).bind(mx.cpu(), {'scores': mx.nd.array(scores)})
    view = executor.forward()[0].asnumpy()
    assert view.shape == (1, 2, 6, 2)
    assert np.array_equal(view[0, 0], scores[0, :3].reshape(6, 2))
    assert np.array_equal(view[0, 1], scores[0, 3:].reshape(6, 2))


def gradients(images):
    """One anchor, one row of four cells: an object, two backgrounds, one ignored; `images` such pictures."""
    names = 'scores', 'boxes', 'label', 'target', 'weight'
    symbol = mx.sym.Group(list(rpn_losses(*[mx.sym.Variable(name) for name in names], batch_size=2,
                                          batch_images=images)))
    values = dict(scores=np.zeros((1, 2, 1, 4)), boxes=np.zeros((1, 4, 1, 4)), label=np.array([[1, 0, 0, -1]]),
                  target=np.full((1, 4, 1, 4), 0.05), weight=np.zeros((1, 4, 1, 4)))
    values['weight'][..., 0] = 1
    values['target'][0, 3] = 3
    arrays = {name: mx.nd.array(np.concatenate([value] * images)) for name, value in values.items()}
    grads = {name: mx.nd.zeros(arrays[name].shape) for name in ('scores', 'boxes')}
    executor = symbol.bind(mx.cpu(), arrays, args_grad=grads)
    executor.forward(is_train=True)
    executor.backward()
    return grads['scores'].asnumpy(), grads['boxes'].asnumpy()


def test_the_losses_count_sampled_anchors_and_the_boxes_of_objects():
    scores, boxes = gradients(1)
    # p - y = 0.5 or -0.5, shared out to the three anchors that are not ignored
    np.testing.assert_allclose(scores[0, 1, 0], [-1 / 6, 1 / 6, 1 / 6, 0], atol=1e-6)
    np.testing.assert_allclose(scores[0, 0], -scores[0, 1], atol=1e-6)
    # Smooth L1 of sigma 3: the gradient of -0.05 is -0.05 * 9 = -0.45, that of -3 is -1; divided by batch_size 2
    np.testing.assert_allclose(boxes[0, :, 0, 0], [-0.225, -0.225, -0.225, -0.5], atol=1e-6)
    assert not boxes[..., 1:].any()


def test_two_images_share_the_losses_equally():
    for one, two in zip(gradients(1), gradients(2)):
        np.testing.assert_allclose(two, np.concatenate((one, one)) / 2, atol=1e-6)
