"""When the learning rate changes."""
import math

import mxnet as mx

from lib.errors import ConfigError


def updates_per_epoch(batches, accumulate=1):
    """Updates that an epoch of so many batches makes: the last one may be of fewer than `accumulate` batches.

    Departure: the release counts images / batch, 8275.5 updates for VOC on 4 devices, where its epochs have 8275. Here
    epochs end with a full batch (8276), and the schedule counts what there is: a drop at epoch 2 comes when the second
    epoch has ended.
    """
    return -(-batches // accumulate)


def last_epoch(epochs):
    """The number of the last checkpoint of so many epochs: 7 of 7, 8 of 7.25."""
    return math.ceil(epochs)


def batches_in(epoch, end_epoch, batches):
    """How many of an epoch's batches are trained: all of them, but for the last epoch of a training of, say, 7.25.

    Args:
        epoch: counted from 0. end_epoch: where the training ends. batches: of a whole epoch.
    """
    return max(1, round(min(1, end_epoch - epoch) * batches))


def linear_scaling(images, lr_images, lr, warmup_lr, warmup_step):
    """Rates and warm-up of updates of `images` images, where they are known for updates of `lr_images`.

    The mean gradient of n times as many images is taken n times as far, so that an image moves the parameters as far
    as before; the warm-up lasts as many images as before, hence a n-th of the updates, rounded up (Goyal et al. 2017,
    arXiv 1706.02677, section 2.1). It holds up to some batch size that only trying tells.

    Returns:
        lr, warmup_lr, warmup_step.
    """
    return lr * images / lr_images, warmup_lr * images / lr_images, -(-warmup_step * lr_images // images)


def lr_schedule(base_lr, epochs, updates_per_epoch, *, factor=0.1, warmup=False, warmup_lr=0.0, warmup_step=0,
                warmup_mode='constant'):
    """The release's schedule: `warmup_lr` for updates 1 to warmup_step - 1, then `base_lr`.

    After each step it is multiplied by `factor`. Steps are counted in updates since the start of training, so a
    resumed run goes on where it stood.

    Departure: the release converts epochs to updates with the number of devices for a batch and ignores BATCH_IMAGES,
    and starts the warm-up anew on resuming.

    Args:
        epochs: where to drop, in epochs; fractions count, those of an update are cut off.
        updates_per_epoch: as many as an epoch has, `updates_per_epoch`; the release's, images / batch, need not be
            whole.
        warmup_mode: 'constant', or 'linear': the rate rises from warmup_lr by the same amount with each update.
    Raises:
        ConfigError: the rate of the warm-up is above the one that it leads to.
    """
    if warmup and warmup_lr > base_lr:
        raise ConfigError('TRAIN.warmup_lr is %g and must not exceed TRAIN.lr, which is %g' % (warmup_lr, base_lr))
    steps = [max(1, int(epoch * updates_per_epoch)) for epoch in epochs]
    steps = sorted(set(steps)) or [2 ** 31]
    return mx.lr_scheduler.MultiFactorScheduler(
        step=steps, factor=factor, base_lr=base_lr, warmup_steps=warmup_step if warmup else 0,
        warmup_begin_lr=warmup_lr if warmup else 0, warmup_mode=warmup_mode)
