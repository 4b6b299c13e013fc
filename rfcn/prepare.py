"""From a folder of annotated pictures to a configuration that trains: `rfcn prepare FOLDER [--minutes M]`.

Finds pictures and annotations (VOC, COCO, CSV, YOLO, as tools lay them out), refuses what training would refuse, splits
the pictures into train, val and test unless they are split already, and writes beside them

    prepared_train.csv, prepared_val.csv, prepared_test.csv     the boxes of each set
    prepared.yaml                                               the configuration

Pictures that are equal or nearly so stay on one side. Anchors, scale and the number of bins follow from the objects,
epochs from the number of pictures, the minutes, and the speed of a few training steps.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import contextlib
import json
import logging
import os
import shlex
import signal
import tempfile

import cv2
import numpy as np
import yaml

from lib.dataset import read_annotated
from lib.dataset.annotations import check_same_classes
from lib.dataset.box_rule import fit_items, hints, usage_text
from lib.dataset.check.anchors import better, fit_anchors, objects_at, suggest
from lib.dataset.convert import complete_set
from lib.dataset.csv_list import write_list
from lib.dataset.files import files_below, relative
from lib.dataset.find import PREPARED, find_dataset, role_of
from lib.dataset.split import alike_groups, fingerprint, split
from lib.dataset.voc_files import quietly
from lib.errors import DatasetError
from lib.utils.console import counted, progress, say
from lib.utils.folders import locked_folder
from lib.utils.image_file import IMAGE_EXTENSIONS, imread
from lib.utils.limits import is_there
from lib.utils.whole_file import save_text, whole_files
from rfcn import check_dataset
from rfcn.checkpoints.checkpoint import params_path
from rfcn.checkpoints.identity import backbone_settings
from rfcn.cli.run import log_to
from rfcn.cli.script import Signalled, make_parser, positive, run_script
from rfcn.config.config import load_config
from rfcn.core.interrupt import Stopped
from rfcn.importers.trunk import RELEASE_MEANS, pixel_means
from rfcn.symbols.resnet_v1 import CONV4_STRIDE
from rfcn.train_end2end import train_net

logger = logging.getLogger('rfcn')

SHARES = {'train': 0.7, 'val': 0.15, 'test': 0.15}
SEED = 0
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


def read_folder(folder):
    """The annotated image sets of a folder.

    Returns:
        dict image set -> AnnotatedSet with the size of each picture, its name seen from the folder.
    Raises:
        DatasetError, FileNotFoundError: there is nothing, or something that stops training.
    """
    found = find_dataset(folder)
    logger.info('%s: %s annotations; image sets: %s', folder, found.format, ', '.join(found.image_sets))
    sets, classes = {}, None
    for name in found.image_sets:
        data = read_annotated(found.format, name, folder, sets=found.image_sets)
        if classes and data.classes != classes and sorted(data.classes) == sorted(classes):     # in another order
            data = read_annotated(found.format, name, folder, classes, sets=found.image_sets)
        classes = classes or data.classes
        if data.annotated:
            data, notes = complete_set(data)
            for note in notes:
                logger.warning('%s', note)
            sets[name] = data._replace(pictures=[picture._replace(
                name=relative(picture.path, folder)) for picture in data.pictures])
    if not sets:
        raise DatasetError('%s: the pictures have no annotations' % folder)
    check_same_classes(sets, 'Make them the same')
    note_unused(folder, sets)
    return sets


def note_unused(folder, sets):
    """Warn of the pictures in a folder that are in none of its image sets."""
    used = {os.path.realpath(picture.path) for data in sets.values() for picture in data.pictures}
    rest = [path for path in files_below(folder, IMAGE_EXTENSIONS, quietly) if os.path.realpath(path) not in used]
    if rest:
        logger.warning('%s: %s in none of these sets: not used, such as %s', folder, counted(len(rest), 'picture'),
                       relative(rest[0], folder))


def assign(sets):
    """Distribute the pictures over 'train', 'val' and 'test'.

    Sets of these names keep their pictures, but val and test leave those out that are in train, and test those of val.
    All other pictures are split; pictures that are alike stay together. If one of the three sets is missing or left
    without pictures, it gets a share of them.

    Returns:
        dict role -> list of (AnnotatedSet, Picture).
    Raises:
        DatasetError: there are fewer than three pictures that differ, or two sets say different things of one.
    """
    given, free = _by_role(sets)
    for path in _keep_first(given):     # trainval beside train and val adds nothing
        free.pop(path, None)
    free, missing = list(free.values()), [role for role in SHARES if not given[role]]
    if missing and not free:
        free, given['train'], missing = given['train'], [], ['train'] + [role for role in missing if role != 'train']
    if free:
        roles = missing or ['train']
        for role, numbers in zip(roles, split_pictures([picture for _, picture in free], roles)):
            given[role] += [free[i] for i in numbers]
    if not given['train']:
        raise DatasetError('there is no picture to train on, only the sets %s. Call one of them train: the missing '
                           'sets get a share of it' % ', '.join(sets))
    return given


def _by_role(sets):
    """The pictures of sets that are called after a role: role -> list of (AnnotatedSet, Picture). And all others: path
    -> the same pair.
    """
    given, free = {role: [] for role in SHARES}, {}
    for name, data in sets.items():
        for picture in data.pictures:
            if role_of(name):
                given[role_of(name)].append((data, picture))
            else:
                other, first = free.setdefault(picture.path, (data, picture))
                if _objects(other, first) != _objects(data, picture):
                    raise DatasetError('%s: has other objects in %s than in %s. Take one of the two away'
                                       % (picture.path, picture.source, first.source))
    return given, free


def _keep_first(given):
    """Leave a picture in the first of its roles alone. Returns the paths of all."""
    seen = set()
    for role, pairs in given.items():       # in a data.yaml to begin with, val is often the folder train
        given[role] = [pair for pair in pairs if pair[1].path not in seen]
        if len(given[role]) < len(pairs):
            logger.warning('%s: %s also in a set before it (%s): left out of %s', role,
                           counted(len(pairs) - len(given[role]), 'picture'), ', '.join(SHARES), role)
        seen.update(picture.path for _, picture in pairs)
    return seen


def _objects(data, picture):
    """Name, box and flags of each object, sorted: two sets may have them in another order."""
    return sorted((data.label(item), item['box'].tolist(), int(item['flags'])) for item in picture.items)


def split_pictures(pictures, roles):
    """Numbers of the pictures of each role."""
    prints = [fingerprint(cv2.cvtColor(imread(picture.path), cv2.COLOR_BGR2GRAY))
              for picture in progress(pictures, desc='pictures that are alike', unit='image')]
    groups = alike_groups(prints)
    if len(groups) < len(roles):
        raise DatasetError('%s: too few for the sets %s, which need one each. Add pictures'
                           % (counted(len(groups), 'different picture'), ', '.join(roles)))
    together = sum(len(group) for group in groups if len(group) > 1)
    if together:
        logger.info('%d pictures are nearly like another one; such stay in one set', together)
    shares = np.array([SHARES[role] for role in roles])
    return split(groups, [picture.items['label'] for picture in pictures], shares / shares.sum(),
                 np.random.RandomState(SEED))


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
    network = dict({'PIXEL_MEANS': pixel_means(RELEASE_MEANS)}, **kind['network'])
    if pretrained:
        noted = backbone_settings(params_path(pretrained, 0))
        network.update({'pretrained': os.path.abspath(pretrained)},
                       **{key.partition('.')[2]: value for key, value in noted.items()})
    proposals = {'CXX_PROPOSAL': False, 'RPN_MIN_SIZE': 0,
                 **{key: value for key, value in kind['train'].items() if key.startswith('RPN_P')}}
    return {'output_path': os.path.abspath('output'),
            'symbol': 'resnet_v1_50_rfcn' if pretrained else 'small_rfcn', 'SCALES': found['SCALES'],
            'network': dict(network, **found['network']),
            'dataset': {'dataset': 'csv', 'dataset_path': os.path.abspath(folder), 'CLASSES': list(classes),
                        'image_set': PREPARED + '_train', 'val_image_set': PREPARED + '_val',
                        'test_image_set': PREPARED + '_test', 'USE_07_METRIC': False},
            'TRAIN': dict({'model_prefix': 'rfcn', 'lr': kind['lr'], 'BATCH_IMAGES': kind['batch'], 'ENABLE_OHEM': True,
                           'BATCH_ROIS': -1, 'BBOX_NORMALIZATION_PRECOMPUTED': True, 'CXX_PROPOSAL': False,
                           'RPN_MIN_SIZE': 0}, **kind['train']),
            'TEST': dict(proposals, BATCH_IMAGES=kind['batch'])}


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


def prepare(folder, minutes=60.0, pretrained=''):
    """See the module. Returns the path of the configuration.

    Raises:
        DatasetError, FileNotFoundError: the folder holds nothing to train on; nothing has been written.
        FolderInUse: another run writes there.
    """
    folder = str(folder)
    shared = assign(read_folder(folder))
    for role, pairs in shared.items():
        logger.info('%s: %d pictures, %d objects', role, len(pairs), sum(len(picture.items) for _, picture in pairs))
    data = shared['train'][0][0]
    training = data._replace(pictures=[picture for _, picture in shared['train']])
    config = configuration(folder, data.classes, settings(training, pretrained), pretrained)
    if not pretrained:
        logger.info('without --pretrained a small network starts from random weights: good for a try and for simple '
                    'things; for photographs give a ResNet-50 (data/README.md says where from)')
    lists = [os.path.join(folder, '%s_%s.csv' % (PREPARED, role)) for role in shared]
    path = os.path.join(folder, PREPARED + '.yaml')
    with locked_folder(folder), whole_files(lists + [path], suffix='.csv', last_tells=True) as temporaries:
        for temporary, pairs in zip(temporaries, shared.values()):
            write_list(temporary, pairs)
        complete(config, len(shared['train']), minutes, PRETRAINED if pretrained else SMALL,
                 os.path.basename(temporaries[0])[:-len('.csv')])
        Path(temporaries[-1]).write_text('# Written by: rfcn prepare. What the keys mean: rfcn/config/defaults.py.\n'
                                         + as_yaml(config), encoding='utf-8')
    return path


def complete(config, images, minutes, kind, image_set):
    """Give a configuration its schedule, by the speed of training steps on `image_set`."""
    seconds = seconds_per_step(config, images, image_set)
    logger.info('a training step takes %.2f s here', seconds)
    config['TRAIN'].update(schedule(images, seconds, minutes, kind))


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument('folder', metavar='FOLDER', help='of the pictures and annotations')
    parser.add_argument('--minutes', type=positive, default=60,
                        help='how long the training may take, in minutes (default 60)')
    parser.add_argument('--pretrained', default='', metavar='PREFIX', help='weights of a ResNet-50, PREFIX-0000.params')
    args = parser.parse_args(argv)
    log_to(None)
    if args.pretrained and not is_there(params_path(args.pretrained, 0)):
        raise FileNotFoundError('%s-0000.params: no such file; --pretrained takes what stands before -0000.params'
                                % args.pretrained)
    path = prepare(args.folder, args.minutes, args.pretrained)
    status = check_dataset.main(['--cfg', path])
    say('\nwritten: %s\nnext: rfcn train --cfg %s\n      rfcn test --cfg %s' % (path, *[shlex.quote(path)] * 2))
    return status


if __name__ == '__main__':
    run_script(main)
