"""Learning rates: when they change, and which layers have their own or are not trained."""
import copy
import json
import logging
import math

import mxnet as mx

logger = logging.getLogger(__name__)


def updates_per_epoch(batches, accumulate=1):
    """Updates per epoch of so many batches; the last update may be of fewer than `accumulate` batches.

    Departure: the release counts images / batch, 8275.5 updates for VOC on 4 devices, where its epochs have 8275. Here
    epochs end with a full batch (8276), and the schedule counts what there is: a drop at epoch 2 comes when the second
    epoch has ended.
    """
    return -(-batches // accumulate)


def last_epoch(epochs):
    """The number of the last checkpoint of so many epochs: 7 of 7, 8 of 7.25."""
    return math.ceil(epochs)


def batches_in(epoch, end_epoch, batches):
    """How many batches of an epoch are trained: all, or a quarter of them in the last epoch of a training of 7.25.

    Args:
        epoch: counted from 0. end_epoch: where the training ends. batches: of a whole epoch.
    """
    # Departure: the release trains whole epochs.
    return max(1, round(min(1, end_epoch - epoch) * batches))


def linear_scaling(images, lr_images, lr, warmup_lr, warmup_step):
    """Rates and warm-up of updates of `images` images, where they are known for updates of `lr_images`.

    The mean gradient of n times as many images is taken n times as far, so that an image moves the parameters as far
    as before. The warm-up lasts as many images as before, hence an n-th of the updates, rounded up (Goyal et al. 2017,
    arXiv 1706.02677, section 2.1). The rule holds up to some batch size that only trying tells.

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
        updates_per_epoch: see the function of that name; the release's number, images / batch, need not be whole.
        warmup_mode: 'constant', or 'linear': the rate rises from warmup_lr by the same amount with each update.
    """
    steps = [max(1, int(epoch * updates_per_epoch)) for epoch in epochs]
    steps = sorted(set(steps)) or [2 ** 31]
    return mx.lr_scheduler.MultiFactorScheduler(
        step=steps, factor=factor, base_lr=base_lr, warmup_steps=warmup_step if warmup else 0,
        warmup_begin_lr=warmup_lr if warmup else 0, warmup_mode=warmup_mode)


def names_beginning_with(symbol, prefixes, key):
    """The arguments of a graph whose names begin with one of `prefixes`; a prefix that none begins with is logged under
    `key`.
    """
    names = symbol.list_arguments()
    idle = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in names)]
    if idle:
        logger.warning('%s: this graph has no parameter whose name begins with %s', key, ' or '.join(idle))
    return [name for name in names if name.startswith(tuple(prefixes))]


def with_lr_mult(symbol, multipliers):
    """A copy of a graph whose parameters carry multipliers of the learning rate, which MXNet's optimizer reads off the
    graph.

    Args:
        multipliers: beginning of a name -> multiplier; of several that fit, the longest counts. It replaces the
            multiplier that the graph gives a layer (3 for conv_new_1).
    """
    if not multipliers:
        return symbol
    symbol = copy.deepcopy(symbol)
    nodes = symbol.get_internals()
    for name in names_beginning_with(symbol, list(multipliers), 'TRAIN.LR_MULT'):
        longest = max((prefix for prefix in multipliers if name.startswith(prefix)), key=len)
        nodes[name]._set_attr(__lr_mult__=str(multipliers[longest]))
    return symbol


def with_kept_statistics(symbol, fixed, frozen):
    """A copy of a graph in which BatchNorms that are not trained also keep the mean and variance they were given.

    In the release no BatchNorm learns statistics, so that this changes nothing there. The small networks' do; without
    this a frozen layer would go on changing, and the layers that RPN and R-FCN share would differ after alternating.

    Args:
        fixed: parts of the names of layers; frozen: beginnings of them.
    """
    graph = json.loads(symbol.tojson(remove_amp_cast=False))  # else a bf16 graph would come back in fp32
    kept = [node for node in graph['nodes'] if node['op'] == 'BatchNorm' and (
        node['name'].startswith(tuple(frozen)) or any(fragment in node['name'] for fragment in fixed))]
    for node in kept:
        node['attrs']['use_global_stats'] = 'True'
    return mx.sym.load_json(json.dumps(graph)) if kept else symbol
