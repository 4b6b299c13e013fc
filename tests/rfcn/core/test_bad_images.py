"""Images that cannot be read, do not come, or are more than fit into memory."""
import time

import pytest

from lib.errors import DatasetError
from lib.utils.image import get_image
from tests.rfcn.core.conftest import loader_of, names


def damage(entry, tmp_path, content=b'no image'):
    """The entry with a file that cannot be read in place of its image."""
    path = tmp_path / 'damaged.jpg'
    path.write_bytes(content)
    return dict(entry, image=str(path))


def test_an_empty_data_set_is_refused():
    with pytest.raises(DatasetError, match='no image to load: the image set is empty'):
        loader_of([])


@pytest.mark.parametrize('threads', [0, 1, 4])
def test_an_image_that_cannot_be_read_stops_the_run_with_its_path(roidb, tmp_path, threads):
    roidb[3] = damage(roidb[3], tmp_path)
    with pytest.raises(DatasetError, match='damaged.jpg'):
        list(loader_of(roidb, threads=threads).batches())


def test_a_missing_image_stops_the_run_with_its_path(roidb, tmp_path):
    roidb[3] = dict(roidb[3], image=str(tmp_path / 'gone.jpg'))
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        list(loader_of(roidb).batches())


def test_a_truncated_image_stops_the_run_with_its_path(roidb, tmp_path):
    with open(roidb[0]['image'], 'rb') as file:
        content = file.read()
    roidb[0] = damage(roidb[0], tmp_path, content[:len(content) // 2])
    with pytest.raises(DatasetError, match='damaged.jpg'):
        list(loader_of(roidb).batches())


def test_an_image_of_too_many_pixels_stops_the_run_with_its_path(roidb):
    with pytest.raises(DatasetError, match='wide1.jpg.* 96 x 64 pixels, more than the limit of 5000'):
        list(loader_of(roidb[:1], max_pixels=5000).batches())


def test_an_unforeseen_error_of_a_thread_reaches_the_caller_and_its_images_are_named(roidb, caplog):
    roidb[2] = dict(roidb[2], boxes=None)
    with pytest.raises((TypeError, ValueError)):
        list(loader_of(roidb, batch_size=1, shuffle=False, max_gt_boxes=2).batches())
    assert caplog.messages == ['a batch cannot be made of these images: ' + roidb[2]['image']]


def test_images_that_do_not_come_are_named(roidb, monkeypatch, caplog):
    monkeypatch.setattr('rfcn.core.pipeline.SLOW', 0.05)
    monkeypatch.setattr('rfcn.core.loader.get_image', lambda entry, *others, **settings: time.sleep(
        0.2 * (entry is roidb[3])) or get_image(entry, *others, **settings))
    assert len(list(loader_of(roidb, shuffle=False).batches())) == 3
    assert caplog.messages == ['still waiting for these images: %s, %s. Does the disk answer?'
                               % (roidb[2]['image'], roidb[3]['image'])]


def test_skipped_images_are_replaced_listed_and_said_once(roidb, tmp_path, caplog):
    roidb[3] = damage(roidb[3], tmp_path)
    loader = loader_of(roidb, on_bad_image='skip', threads=1)
    batches = [names(loader.batches(epoch)) for epoch in range(3)]
    assert all(len(epoch) == 3 and 'damaged' not in sum(epoch, []) for epoch in batches)
    assert list(loader.skipped) == [roidb[3]['image']]
    assert 'damaged.jpg' in str(loader.skipped[roidb[3]['image']])
    assert len([record for record in caplog.records if 'skipped' in record.getMessage()]) == 1


def test_where_nothing_can_be_read_skipping_ends_with_an_error(roidb, tmp_path):
    bad = damage(roidb[0], tmp_path)
    with pytest.raises(DatasetError, match='20 images in a row .*; the last was .*damaged.jpg.* rfcn check '):
        list(loader_of([bad] * 3, on_bad_image='skip').batches())


def test_an_abandoned_epoch_leaves_no_work_behind(roidb, monkeypatch):
    """Only a few batches are read ahead of the one that is asked for."""
    mine, asked = dict(roidb[0]), []
    monkeypatch.setattr('rfcn.core.loader.get_image', lambda entry, *others, **settings: asked.append(
        entry) or get_image(entry, *others, **settings))
    batches = loader_of([mine] * 40, batch_size=1, threads=2, shuffle=False).batches()
    next(batches)
    batches.close()
    time.sleep(0.2)
    # The one given, and twice as many ahead as there are threads. Threads of other tests may be at work as well.
    assert 1 <= sum(entry is mine for entry in asked) <= 6


def test_where_the_largest_image_cannot_be_read_the_first_batch_stands_in_if_images_may_be_skipped(roidb, tmp_path):
    number, _ = loader_of(roidb).sizes()[(64, 96)]
    entries = [damage(entry, tmp_path) if i == number else entry for i, entry in enumerate(roidb)]
    assert loader_of(entries, on_bad_image='skip').largest_batch().data[0].shape[0] == 2
    with pytest.raises(DatasetError, match='damaged.jpg.*Or do without such images: dataset.on_bad_image=skip'):
        loader_of(entries).largest_batch()
