"""When the learning rate changes."""
import mxnet as mx


def lr_schedule(base_lr, epochs, updates_per_epoch, *, factor=0.1, warmup=False, warmup_lr=0.0, warmup_step=0):
    """The release's schedule: `warmup_lr` for updates 1 to warmup_step - 1, then `base_lr`, times `factor` after each step.

    Steps are counted in updates since the start of training, so a resumed run goes on where it stood.

    Departure: the release converts epochs to updates with the number of devices for a batch and ignores BATCH_IMAGES, and starts
    the warm-up anew on resuming.

    Args:
        epochs: where to drop, in epochs; fractions count.
        updates_per_epoch: float, images over images an update.
    """
    steps = [max(1, int(epoch * updates_per_epoch)) for epoch in epochs]
    steps = sorted(set(steps)) or [2 ** 31]
    return mx.lr_scheduler.MultiFactorScheduler(
        step=steps, factor=factor, base_lr=base_lr, warmup_steps=warmup_step if warmup else 0,
        warmup_begin_lr=warmup_lr if warmup else 0, warmup_mode='constant')
