"""What a configuration trains, counted in images: rates, drops, warm-up."""
from typing import NamedTuple, Optional, Tuple

from experiments.rows.table import ALTERNATE, TEST, find_row
from rfcn import data_sets
from rfcn.config.config import load_config
from rfcn.core.schedule import batches_in, last_epoch, updates_per_epoch
from rfcn.train_alternate import step_config, steps_of
from rfcn.training import update_rates

# Image set -> its images, and those that have objects (VOC: all; COCO: without crowds).
IMAGES = {
    ('PascalVOC', '2007_trainval'): (5011, 5011), ('PascalVOC', '2007_test'): (4952, 4952),
    ('PascalVOC', '2012_trainval'): (11540, 11540), ('PascalVOC', '2012_test'): (10991, 10991),
    ('coco', 'train2014'): (82783, 82081), ('coco', 'val2014'): (40504, 40137),
    ('coco', 'test-dev2015'): (20288, 20288),
}


class Step(NamedTuple):
    """One training: the only one, or a step of alternating training."""
    name: str
    rate: float                 # after the warm-up, for the gradient of one image
    batch: int                  # images per update
    images: int                 # trained in all; a mirror image counts as one
    drops: Tuple[int, ...]      # images after which the rate falls by TRAIN.lr_factor
    updates: int
    epochs: float
    warmup: int                 # images of the warm-up
    warmup_rate: float          # for the gradient of one image


def row_steps(row, overrides=()):
    """Each `Step` of a row's training; of the row that it starts from, where it only tests. See `steps`."""
    trained = find_row(row.starts_from) if row.kind == TEST else row
    return steps(load_config(trained.cfg_path, list(overrides)), trained.kind)


def steps(cfg, kind):
    """Each `Step` of a training of a configuration.

    Raises:
        DatasetError, FileNotFoundError: the image set is none of the published ones, and its images are not here.
    """
    images = training_images(cfg)
    if kind != ALTERNATE:
        return [_step('all', cfg, images)]
    return [_step(name, step_config(cfg, name), images) for name in steps_of(cfg)]


def _step(name, cfg, images):
    train, devices = cfg.TRAIN, len(cfg.gpus.split(','))
    batch_images = train.BATCH_IMAGES * devices
    batches = -(-images // batch_images)
    trained = [batches_in(epoch, train.end_epoch, batches) for epoch in range(last_epoch(train.end_epoch))]
    per_epoch, update_images = updates_per_epoch(batches, train.GRAD_ACCUM), batch_images * train.GRAD_ACCUM
    lr, warmup_lr, warmup_updates, parts = update_rates(train, devices)

    def images_of(updates):     # the last update of an epoch may be of fewer batches
        epochs, rest = divmod(updates, per_epoch)
        return epochs * batches * batch_images + rest * update_images
    share = 1.0 / (train.BATCH_IMAGES * parts)
    return Step(name, rate=lr * share, batch=update_images, images=sum(trained) * batch_images,
                drops=tuple(images_of(int(epoch * per_epoch)) for epoch in train.lr_step),
                updates=sum(updates_per_epoch(count, train.GRAD_ACCUM) for count in trained), epochs=train.end_epoch,
                warmup=images_of(warmup_updates) if train.warmup else 0,
                warmup_rate=warmup_lr * share if train.warmup else 0.0)


def training_images(cfg):
    """Images of an epoch, mirror images included."""
    sets = [(cfg.dataset.dataset, name) for name in cfg.dataset.image_set.split('+')]
    if not all(image_set in IMAGES for image_set in sets):
        return len(data_sets.training_roidb(cfg))
    keep_empty = cfg.TRAIN.KEEP_EMPTY and not cfg.RELEASE_RULES
    return sum(IMAGES[image_set][0 if keep_empty else 1] for image_set in sets) * (2 if cfg.TRAIN.FLIP else 1)


def test_images(cfg) -> Optional[int]:
    """Images of the test set."""
    known = IMAGES.get((cfg.dataset.dataset, cfg.dataset.test_image_set))
    return known[0] if known else len(data_sets.datasets(cfg, cfg.dataset.test_image_set)[0].image_set_index)
