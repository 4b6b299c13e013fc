"""Batches of images alone: their order, their views, given proposals."""
import numpy as np

from rfcn.core.image_loaders import ImageLoader, largest_first, stack_rois, view_loaders
from tests.rfcn.core.conftest import MEANS, names


def test_tests_take_images_in_their_order_without_objects(roidb):
    batches = list(ImageLoader(roidb, 4, scales=((64, 96),), pixel_means=MEANS).batches())
    assert names(batches) == [['wide1', 'wide2', 'wide3', 'high1'], ['high2', 'empty', 'high2', 'empty']]
    assert [desc.name for desc in batches[0].provide_data] == ['data', 'im_info'] and batches[0].label == []
    assert batches[0].data[0].shape == (4, 3, 96, 96)


def test_given_proposals_come_in_the_pixels_of_the_network(roidb):
    entries = [dict(roidb[0], proposals=np.array([[0, 0, 10, 20, 0.9], [4, 4, 8, 8, 0.1]])),
               dict(roidb[5], proposals=np.array([[10, 20, 30, 40, 0.5]]))]
    batch, = ImageLoader(entries, 2, scales=((64, 96),), pixel_means=MEANS, proposals=True).batches()
    # The second image is scaled by 0.8; its one proposal fills both rows.
    expected = [[[0, 0, 0, 10, 20], [0, 4, 4, 8, 8]], [[1, 8, 16, 24, 32], [1, 8, 16, 24, 32]]]
    np.testing.assert_allclose(batch.data[2].asnumpy(), expected, rtol=1e-6)


def test_shorter_lists_of_rois_repeat_their_last_row():
    stacked = stack_rois([np.ones((1, 5)), np.arange(15).reshape(3, 5)])
    assert stacked.shape == (2, 3, 5) and (stacked[0] == 1).all()


def test_images_are_tested_the_largest_in_the_networks_input_first_and_those_of_one_shape_together():
    sizes = [(100, 100), (200, 100), (150, 100), (100, 200), (300, 200), (100, 150), (400, 200), (500, 100)]
    order = largest_first([dict(width=width, height=height) for width, height in sizes], (60, 100))
    # Inputs of 60 x 90, 60 x 60, 50 x 100 and 20 x 100 pixels: the longer side is limited.
    assert [sizes[i] for i in order] == [(100, 150), (150, 100), (300, 200), (100, 200), (200, 100), (400, 200),
                                         (100, 100), (500, 100)]


def test_there_is_a_loader_for_each_scale_and_each_mirror_image(roidb, tiny_cfg):
    loaders = view_loaders(tiny_cfg('TEST.SCALES=[[64, 96], [96, 144]]', 'TEST.FLIP=true'), roidb)
    assert [(loader.scales[0], loader.roidb[0]['flipped']) for loader in loaders] == [
        ((64, 96), False), ((64, 96), True), ((96, 144), False), ((96, 144), True)]
    assert [loader.scales for loader in view_loaders(tiny_cfg(), roidb)] == [[(64, 96)]]
