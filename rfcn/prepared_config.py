"""The configuration that `rfcn prepare` writes: scale, anchors and bins follow from the objects, the network from the
weights that it starts from, epochs from the minutes and the speed of a few training steps here.
"""
import contextlib
import json
import logging
import os
import signal
import tempfile

import numpy as np
import yaml

from lib.dataset.box_rule import fit_items, hints, usage_text
from lib.dataset.check.anchors import better, fit_anchors, objects_at, suggest
from lib.dataset.find import PREPARED
from lib.errors import DatasetError
from lib.utils.whole_file import save_text
from rfcn.checkpoints.checkpoint import start_path
from rfcn.checkpoints.identity import needed_to_start
from rfcn.checkpoints.states import identity_of_params
from rfcn.cli.script import Signalled
from rfcn.config.config import load_config
from rfcn.core.interrupt import Stopped
from rfcn.importers.trunk import RELEASE_MEANS, pixel_means
from rfcn.symbols.resnet_v1 import CONV4_STRIDE
from rfcn.train_end2end import train_net

logger = logging.getLogger('rfcn')

MEASURED_STEPS = 12         # training steps whose time tells the number of epochs
FEWEST_EPOCHS = 3
# What differs between a network that starts from a classifier's weights and the small one that starts from scratch.
# scale: (least, most) of the shorter side; object: the side in pixels that a small object of each class should have at
# that scale; bins: the side in pixels from which the median object gets 7 x 7 bins, not 3 x 3; epochs: the most.
PRETRAINED = dict(scale=(320, 800), object=48, bins=112, epochs=30, batch=1, lr=0.002, network={
    'FIXED_PARAMS': ['conv1', 'bn_conv1', 'res2', 'bn2', 'gamma', 'beta']},
    train={'PRECISION': 'bf16', 'RPN_PRE_NMS_TOP_N': 6000, 'RPN_POST_NMS_TOP_N': 300})
SMALL = dict(scale=(96, 400), object=40, bins=112, epochs=60, batch=4, lr=0.03, network={
    'FIXED_PARAMS': [], 'CONV_NEW_CHANNELS': 128, 'RPN_CHANNELS': 64,
    'SMALL_CHANNELS': [16, 48, 96, 192]},
    train={'BATCH_ROIS_OHEM': 64, 'RPN_BATCH_SIZE': 128, 'RPN_PRE_NMS_TOP_N': 1000, 'RPN_POST_NMS_TOP_N': 150})


def settings(data, pretrained):
    """The keys that follow from the training data, an AnnotatedSet, and from the weights: scale, anchors, bins."""
    kind = PRETRAINED if pretrained else SMALL
    sizes = np.array([picture.size for picture in data.pictures], dtype=float)
    boxes, labels, of_image = usable_objects(data, sizes)
    scale = scale_for(boxes, labels, of_image, float(np.median(sizes.min(axis=1))), kind)
    objects = objects_at(boxes, labels, of_image, [scale])
    fit = suggest(objects, 4, 3)
    fit = better(fit, objects) or fit       # a fifth size, where it is worth it
    logger.info('scale %s; anchors: sizes %s x 16 pixels, height / width %s, mean IoU with the objects %.2f',
                scale, list(fit.scales), list(fit.ratios), fit_anchors(objects, fit.scales, fit.ratios).mean)
    middle = float(np.median(np.sqrt(np.prod(objects.sides, axis=1))))
    return {'SCALES': scale, 'network': {'ANCHOR_SCALES': list(fit.scales), 'ANCHOR_RATIOS': list(fit.ratios),
                                         'POOLED_SIZE': 7 if middle >= kind['bins'] else 3}}


def usable_objects(data, sizes):
    """Boxes (n, 4), classes (n,) and sizes of their images (n, 2) of the objects that can be trained on.

    Raises:
        DatasetError: there are none.
    """
    fitted = fit_items(data, sizes)
    rows = np.flatnonzero(fitted.used)
    if not len(rows):
        texts = [fault.text for fault in hints(data, sizes)] or ['Correct the annotations']
        raise DatasetError('%s: %s. %s' % (data.pictures[0].source, usage_text(fitted), '. '.join(texts)))
    return fitted.boxes[rows], fitted.items['label'][rows], sizes[fitted.owners[rows]]


def scale_for(boxes, labels, of_image, shorter, kind):
    """[shorter side, longest side]: small objects, the first quarter of each class, become as large as the kind of
    network wants them, as far as its limits and the pictures' own pixels allow.

    Args:
        boxes, labels, of_image: of `usable_objects`. shorter: the pictures' median shorter side, pixels.
    """
    shares = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)) / of_image.min(axis=1)
    small = min(np.percentile(shares[labels == label], 25) for label in np.unique(labels))
    side = int(np.clip(kind['object'] / small, kind['scale'][0], kind['scale'][1]))
    side = min(side, max(kind['scale'][0], int(shorter)))       # larger pictures show nothing more
    side = -(-side // CONV4_STRIDE) * CONV4_STRIDE
    return [side, int(side * 5 / 3)]        # as 600 and 1000


def configuration(folder, classes, found, pretrained):
    """The configuration as nested dicts, without its schedule."""
    kind = PRETRAINED if pretrained else SMALL
    network = dict({'PIXEL_MEANS': pixel_means(RELEASE_MEANS)}, **kind['network'], **found['network'])
    proposals = {'CXX_PROPOSAL': False, 'RPN_MIN_SIZE': 0,
                 **{key: value for key, value in kind['train'].items() if key.startswith('RPN_P')}}
    folder = os.path.abspath(folder)    # each has a place of its own for its runs: all are called prepared
    config = {
        'output_path': os.path.abspath(os.path.join('output', os.path.basename(folder))),
        'symbol': 'resnet_v1_50_rfcn' if pretrained else 'small_rfcn', 'SCALES': found['SCALES'], 'network': network,
        'dataset': {'dataset': 'csv', 'dataset_path': folder, 'CLASSES': list(classes),
                    'image_set': PREPARED + '_train', 'val_image_set': PREPARED + '_val',
                    'test_image_set': PREPARED + '_test', 'USE_07_METRIC': False},
        'TRAIN': dict({'model_prefix': 'rfcn', 'lr': kind['lr'], 'BATCH_IMAGES': kind['batch'], 'ENABLE_OHEM': True,
                       'BATCH_ROIS': -1, 'BBOX_NORMALIZATION_PRECOMPUTED': True, 'CXX_PROPOSAL': False,
                       'RPN_MIN_SIZE': 0}, **kind['train']),
        'TEST': dict(proposals, BATCH_IMAGES=kind['batch'])}
    if pretrained:
        network['pretrained'] = os.path.abspath(pretrained)
        identity = identity_of_params(start_path(pretrained))
        if identity:
            take_over(config, identity)
    return config


def take_over(config, identity):
    """Put what the weights need into a configuration; training refuses other values."""
    network = config['network']
    needed = needed_to_start(identity, len(network['ANCHOR_SCALES']) * len(network['ANCHOR_RATIOS']))
    for key, value in needed.items():
        section, name = key.split('.')
        config[section][name] = value
    logger.info('as the weights need it: %s', ', '.join('%s %s' % item for item in needed.items()))


def seconds_per_step(config, images, image_set):
    """Seconds of a training step here: the median of a few on the data, in a folder that is removed.

    Args:
        images: of the image set, which is called `image_set` as long as it has not its own name.
    """
    batch = config['TRAIN']['BATCH_IMAGES']
    with tempfile.TemporaryDirectory() as folder, silence():
        path = os.path.join(folder, 'speed.yaml')
        save_text(path, as_yaml(config))
        cfg = load_config(path, ['TRAIN.end_epoch=%r' % min(1.0, MEASURED_STEPS * batch / (2 * images)),
                                 'default.frequent=1', 'dataset.val_image_set=', 'dataset.image_set=' + image_set])
        try:
            prefix = train_net(cfg, folder)
        except Stopped as stopped:      # of which nothing was logged, and nothing of this training is to go on
            raise Signalled(signal.Signals(stopped.code - 128)) from stopped
        with open(prefix + '-log.jsonl', encoding='utf-8') as lines:
            speeds = [json.loads(line)['images_per_s'] for line in lines]      # each the mean of the steps up to it
    ends = [0] + [number * batch / speed for number, speed in enumerate(speeds, 1)]
    return float(np.median(np.diff(ends)[len(speeds) // 4:]))                  # the first steps set up


@contextlib.contextmanager
def silence():
    """Errors alone are logged."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def schedule(images, seconds, minutes, kind):
    """Keys of the schedule: as many epochs as the minutes allow, validations left out, and no more than are of use.

    Args:
        images: of the training set; an epoch has twice as many, with their mirror images.
        seconds: of a step.
    """
    updates = -(-2 * images // kind['batch'])
    affordable = minutes * 60 * 0.85 / (updates * seconds)      # the rest: validation and checkpoints
    epochs = int(np.clip(affordable, FEWEST_EPOCHS, kind['epochs']))
    if affordable < FEWEST_EPOCHS:
        logger.warning('%g minutes are %.1f epochs; trained are %d, in some %.0f minutes', minutes, affordable,
                       FEWEST_EPOCHS, FEWEST_EPOCHS * updates * seconds / 60 / 0.85)
    return {'end_epoch': epochs, 'lr_step': '%g,%g' % (round(0.75 * epochs, 2), round(0.92 * epochs, 2)),
            'warmup': True, 'warmup_lr': kind['lr'] / 10, 'warmup_step': int(np.clip(updates * epochs // 20, 10, 500)),
            'EVAL_PERIOD': max(1, epochs // 5), 'CHECKPOINT_PERIOD': max(1, epochs // 5)}


class _Dumper(yaml.SafeDumper):
    """Keys one below the other, lists on one line."""


_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence('tag:yaml.org,2002:seq', value, True))


def as_yaml(config):
    """The text of a configuration, its keys in the order given."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000)


def complete(config, images, minutes, pretrained, image_set):
    """Give a configuration its schedule, by the speed of training steps on `image_set`."""
    seconds = seconds_per_step(config, images, image_set)
    logger.info('a training step takes %.2f s here', seconds)
    config['TRAIN'].update(schedule(images, seconds, minutes, PRETRAINED if pretrained else SMALL))
