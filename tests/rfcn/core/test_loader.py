"""Batches: which images, in which order, in which shapes."""
import numpy as np
import pytest

from lib.rpn.anchors import as_blobs, assign_anchor, generate_anchors, shifted_anchors
from lib.utils.image import get_image
from rfcn.core.target_loaders import pad_gt_boxes
from tests.rfcn.core.conftest import ANCHORS, MEANS, cells, loader_of, names

NUM_ANCHORS = 9


def arrays(batch):
    return [value.asnumpy() for value in batch.data + batch.label]


@pytest.mark.parametrize('aspect_grouping', [True, False])
def test_every_image_comes_once_an_epoch_and_the_epochs_differ(roidb, aspect_grouping):
    loader = loader_of(roidb, aspect_grouping=aspect_grouping)
    orders = [sum(names(loader.batches(epoch)), []) for epoch in range(6)]
    assert all(sorted(order) == ['empty', 'high1', 'high2', 'wide1', 'wide2', 'wide3'] for order in orders)
    assert len({tuple(order) for order in orders}) > 3


def test_landscapes_and_portraits_do_not_share_a_batch_and_mix_over_an_epoch(roidb):
    # Departure: six images make three whole batches, which the release does not shuffle: landscapes, then portraits.
    loader = loader_of(roidb)
    batches = [names(loader.batches(epoch)) for epoch in range(8)]
    assert all(len({name.startswith('high') for name in batch}) == 1 for epoch in batches for batch in epoch)
    assert {[batch[0].startswith('high') for batch in epoch].index(True) for epoch in batches} == {0, 1, 2}


def test_without_shuffling_the_order_is_that_of_the_data(roidb):
    loader = loader_of(roidb, shuffle=False)
    assert sum(names(loader.batches(3)), []) == [entry['index'] for entry in roidb]


def test_the_last_batch_is_filled_with_the_first_images_of_the_epoch(roidb):
    # Departure: the release drops it.
    loader = loader_of(roidb, batch_size=4, shuffle=False)
    batches = list(loader.batches())
    assert len(loader) == len(batches) == 2
    assert [batch.pad for batch in batches] == [0, 2]
    assert names(batches)[1] == ['high2', 'empty', 'wide1', 'wide2']


def test_a_batch_larger_than_the_data_repeats_them(roidb):
    batch, = loader_of(roidb[:2], batch_size=5, shuffle=False).batches()
    assert batch.pad == 3 and names([batch])[0] == ['wide1', 'wide2', 'wide1', 'wide2', 'wide1']


@pytest.mark.parametrize('threads', [1, 3])
def test_a_run_taken_up_at_any_batch_gets_the_same_arrays(roidb, threads):
    settings = dict(seed=7, scales=((64, 96), (48, 96)))
    whole = list(loader_of(roidb, threads=threads, **settings).batches(epoch=4))
    for start in range(1, 3):
        resumed = list(loader_of(roidb, **settings).batches(epoch=4, start=2 * start))
        assert names(resumed) == names(whole[start:])
        for batch, expected in zip(resumed, whole[start:]):
            assert all(np.array_equal(a, b) for a, b in zip(arrays(batch), arrays(expected)))


def by_image(batches):
    """Name of the image -> its own part of each array, without padding rows and columns."""
    return {image: [value[i] for value in arrays(batch)] + [batch.seeds[i]]
            for batch in batches for name in names([batch]) for i, image in enumerate(name)}


def test_what_is_drawn_for_an_image_does_not_depend_on_the_size_of_the_batch(roidb):
    one, two = (by_image(loader_of(roidb[:2], batch_size=size, seed=5, aspect_grouping=False).batches(3))
                for size in (1, 2))
    assert set(one) == set(two) == {'wide1', 'wide2'}   # of one shape, so that nothing is padded
    for image in one:
        assert all(np.array_equal(a, b) for a, b in zip(one[image], two[image]))


def test_batches_of_one_image_draw_as_they_always_did(roidb):
    # One source for each batch, RandomState([seed, epoch, number of the batch]); one for each step of the graph.
    loader = loader_of(roidb, batch_size=1, seed=3)
    second = list(loader.batches(epoch=2))[1]
    entry = next(entry for entry in roidb if entry['image'] == second.images[0])
    height, width = cells(*second.data[0].shape[2:])
    anchors = shifted_anchors(height, width, ANCHORS['base_size'], generate_anchors(**ANCHORS))
    _, info, gt_boxes = get_image(entry, 64, 96, 0, MEANS)
    label, _, _ = assign_anchor(anchors, gt_boxes, info[:2], rng=np.random.RandomState([3, 2, 1]), batch_size=32)
    assert np.array_equal(arrays(second)[3], as_blobs(label, *[np.zeros((len(label), 4))] * 2, height, width)['label'])
    assert second.seeds == [3 * 1000003 + 2 * 6 + 1]


def test_an_epoch_goes_on_at_any_image_with_batches_of_another_size(roidb):
    begun = names(loader_of(roidb, batch_size=2, seed=9).batches(epoch=1))
    rest = names(loader_of(roidb, batch_size=3, seed=9).batches(epoch=1, start=2, step_size=2))
    # Four images are left: a batch of three, and one filled up with the first two of the epoch.
    assert sum(rest, []) == sum(begun[1:], []) + begun[0]


def test_devices_and_workers_share_out_the_steps_of_one_order(roidb):
    plain = names(loader_of(roidb, batch_size=1, shuffle=False).batches())
    two = list(loader_of(roidb, batch_size=1, shuffle=False, devices=2).batches())
    assert [names(step.parts) for step in two] == [plain[0:2], plain[2:4], plain[4:6]]
    assert two[0].images == sum([part.images for part in two[0].parts], [])
    first, second = (names(loader_of(roidb, batch_size=1, shuffle=False, rank=rank, ranks=2).batches())
                     for rank in (0, 1))
    assert first == plain[0::2] and second == plain[1::2]
    both = [names(step.parts) for step in loader_of(roidb, 1, shuffle=False, devices=2, rank=1, ranks=2).batches()]
    # Steps of four; the last two positions go to the first images of the epoch again.
    assert both == [plain[2:4], plain[0:2]]


def test_a_worker_draws_for_its_images_what_one_process_draws(roidb):
    whole = by_image(loader_of(roidb, batch_size=1, seed=4, aspect_grouping=False).batches(2))
    shares = [by_image(loader_of(roidb, batch_size=1, seed=4, aspect_grouping=False, rank=rank, ranks=3).batches(2))
              for rank in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(whole)
    for share in shares:
        assert all(np.array_equal(a, b) for name in share for a, b in zip(share[name], whole[name]))


def test_each_device_has_its_own_shape(roidb):
    step = next(loader_of([roidb[3], roidb[0]], batch_size=1, shuffle=False, devices=2).batches())
    assert [part.data[0].shape for part in step.parts] == [(1, 3, 96, 64), (1, 3, 64, 96)]


def test_order_and_samples_are_a_function_of_the_seed(roidb):
    first, again, other = ([arrays(batch) for batch in loader_of(roidb, seed=seed).batches()] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for x, y in zip(first, again) for a, b in zip(x, y))
    assert not all(np.array_equal(a, b) for x, y in zip(first, other) for a, b in zip(x, y))


def test_the_global_random_state_is_left_alone(roidb):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    list(loader_of(roidb).batches())
    assert np.array_equal(before, np.random.get_state()[1])


def test_images_are_padded_to_the_largest_of_their_batch(roidb):
    batch, = loader_of(roidb[:1] + roidb[5:], shuffle=False).batches()  # 96 x 64 and 80 x 80: 64 high at this scale
    data, im_info = arrays(batch)[:2]
    assert data.shape == (2, 3, 64, 96)
    assert im_info.tolist() == [[64, 96, 1], [64, 64, pytest.approx(0.8)]]  # the second without its padding
    assert not data[1, :, :, 64:].any() and data[1, :, :, :64].any()
    assert batch.provide_data[0].shape == (2, 3, 64, 96)


def test_the_stride_pads_images_but_not_their_size(roidb):
    batch, = loader_of(roidb[2:3], batch_size=1, scales=((60, 90),), stride=32).batches()
    data, im_info = arrays(batch)[:2]
    assert data.shape == (1, 3, 64, 96)
    # Departure: the release writes the padded size, 64 x 96.
    assert im_info.tolist() == [[60, 90, 1]]


def test_an_image_in_a_batch_is_that_of_lib(roidb):
    entry = dict(roidb[0], flipped=True)
    batch, = loader_of([entry], batch_size=1).batches()
    tensor, im_info, gt_boxes = get_image(entry, 64, 96, 0, MEANS)
    data, info, boxes, label, target, weight = arrays(batch)
    assert np.array_equal(data, tensor) and np.array_equal(info[0], im_info) and np.array_equal(boxes[0, :2], gt_boxes)
    assert label.shape == (1, NUM_ANCHORS * 4 * 6)
    assert target.shape == weight.shape == (1, 4 * NUM_ANCHORS, 4, 6)
    assert (label == 1).any() and (label == 0).any()


def test_images_without_objects_have_background_alone(roidb):
    batch, = loader_of(roidb[5:], batch_size=1).batches()
    _, _, gt_boxes, label, _, weight = arrays(batch)
    assert (gt_boxes == -1).all() and not weight.any()
    assert set(np.unique(label)) == {-1, 0}


def test_there_are_rows_for_the_most_objects_of_any_image(roidb):
    assert loader_of(roidb).max_gt_boxes == 2
    assert loader_of(roidb[5:]).max_gt_boxes == 1  # no object at all, yet a shape is needed
    batch, = loader_of(roidb[:1], batch_size=1, max_gt_boxes=4).batches()
    boxes = arrays(batch)[2][0]
    assert boxes.shape == (4, 5) and (boxes[2:] == -1).all() and (boxes[:2, 4] > 0).all()
    assert np.array_equal(pad_gt_boxes(boxes, 1), boxes[:1])


def test_the_rpn_alone_needs_neither_sizes_nor_objects(roidb):
    batch = next(loader_of(roidb, end2end=False).batches())
    assert [desc.name for desc in batch.provide_data] == ['data']
    assert [desc.name for desc in batch.provide_label] == ['label', 'bbox_target', 'bbox_weight']


def test_one_of_several_scales_is_drawn_for_each_image(roidb):
    loader = loader_of(roidb, batch_size=1, scales=((64, 96), (32, 48), (48, 96)))
    heights = [[min(batch.data[0].shape[2:]) for batch in loader.batches(epoch)] for epoch in range(4)]
    assert {height for epoch in heights for height in epoch} == {32, 48, 64}
    assert len({tuple(epoch) for epoch in heights}) > 1


def test_without_workers_images_are_read_in_the_main_thread(roidb):
    threaded, plain = (list(loader_of(roidb, threads=threads).batches()) for threads in (2, 0))
    assert names(threaded) == names(plain)
    assert all(np.array_equal(a, b) for x, y in zip(threaded, plain) for a, b in zip(arrays(x), arrays(y)))


def test_sizes_are_those_of_the_images_at_every_scale(roidb):
    loader = loader_of(roidb, batch_size=1, scales=((64, 96), (32, 40)))
    seen = {batch.data[0].shape[2:] for epoch in range(8) for batch in loader.batches(epoch)}
    assert seen <= set(loader.sizes()) and len(seen) > 4
    number, scale = loader.sizes()[(64, 96)]
    assert scale == (64, 96) and roidb[number]['width'] > roidb[number]['height']


@pytest.mark.parametrize('devices', [1, 2])
def test_the_largest_batch_has_the_largest_image_in_every_place(roidb, devices):
    batch = loader_of(roidb, scales=((32, 40), (64, 96)), devices=devices).largest_batch()
    assert len(batch.parts) == devices
    for part in batch.parts:
        assert part.data[0].shape == (2, 3, 64, 96) and [desc.name for desc in part.provide_data][0] == 'data'
        assert len({*part.images}) == 1
