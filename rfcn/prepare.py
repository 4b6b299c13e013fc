"""From a folder of annotated pictures to a configuration that trains: `rfcn prepare FOLDER [--minutes M]`.

Finds pictures and annotations (VOC, COCO, CSV, YOLO, as tools lay them out), refuses what training would refuse, splits
the pictures into train, val and test unless they are split already, and writes beside them

    prepared_train.csv, prepared_val.csv, prepared_test.csv     the boxes of each set
    prepared.yaml                                               the configuration

Pictures that are equal or nearly so stay on one side. Where the lists are there, as after more pictures have come, each
picture keeps its set. Anchors, scale and the number of bins follow from the objects,
epochs from the number of pictures, the minutes, and the speed of a few training steps.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging
import os
import shlex

import cv2
import numpy as np

from lib.dataset import read_annotated
from lib.dataset.annotations import check_same_classes
from lib.dataset.convert import complete_set
from lib.dataset.csv_list import read_rows, write_list
from lib.dataset.files import files_below, relative
from lib.dataset.find import PREPARED, find_dataset, role_of
from lib.dataset.split import alike_groups, fingerprint, split
from lib.dataset.voc_files import quietly
from lib.errors import CheckpointError, DatasetError
from lib.utils.console import counted, listed, progress, say
from lib.utils.folders import locked_folder
from lib.utils.image_file import IMAGE_EXTENSIONS, imread
from lib.utils.limits import is_there
from lib.utils.whole_file import whole_files
from rfcn import check_dataset
from rfcn.checkpoints.checkpoint import check_is_there, load_params, start_path
from rfcn.cli.run import log_to
from rfcn.cli.script import make_parser, positive, run_script
from rfcn.importers.trunk import find_trunk
from rfcn.prepared_config import as_yaml, complete, configuration, settings

logger = logging.getLogger('rfcn')

SHARES = {'train': 0.7, 'val': 0.15, 'test': 0.15}
SEED = 0


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
    check_same_classes(sets, "Add what one lacks to its list: the categories of a COCO json, the names of YOLO's")
    note_unused(folder, sets)
    return sets


def note_unused(folder, sets):
    """Warn of the pictures in a folder that are in none of its image sets."""
    used = {os.path.realpath(picture.path) for data in sets.values() for picture in data.pictures}
    rest = [path for path in files_below(folder, IMAGE_EXTENSIONS, quietly) if os.path.realpath(path) not in used]
    if rest:
        logger.warning('%s: %s in none of these sets: not used, such as %s', folder, counted(len(rest), 'picture'),
                       relative(rest[0], folder))


def list_path(folder, role):
    """The list of a set."""
    return os.path.join(folder, '%s_%s.csv' % (PREPARED, role))


def earlier_roles(folder):
    """Name of a picture -> the set that an earlier prepare of the folder gave it."""
    return {row.get('image'): role for role in SHARES if is_there(list_path(folder, role))
            for _, row in read_rows(list_path(folder, role))}


def assign(sets, earlier=None):
    """Distribute the pictures over 'train', 'val' and 'test'.

    Sets of these names keep their pictures, but val and test leave those out that are in train, and test those of val.
    All other pictures are split; pictures that are alike stay together. If one of the three sets is missing or left
    without pictures, it gets a share of them.

    Args:
        earlier: of `earlier_roles`. Pictures that are split keep these sets: a network that was trained on the earlier
            lists must not be tested on its own pictures.
    Returns:
        dict role -> list of (AnnotatedSet, Picture).
    Raises:
        DatasetError: there are fewer than three pictures that differ, or two sets say different things of one.
    """
    given, free = _by_role(sets)
    for path in _keep_first(given):     # trainval beside val adds what val lacks
        free.pop(path, None)
    free, missing = list(free.values()), [role for role in SHARES if not given[role]]
    if missing and not free:
        free, given['train'], missing = given['train'], [], ['train'] + [role for role in missing if role != 'train']
    if free:
        roles = missing or ['train']
        for role, numbers in zip(roles, split_pictures([picture for _, picture in free], roles, earlier or {})):
            given[role] += [free[i] for i in numbers]
    if not given['train']:
        raise DatasetError('there is no picture to train on, only the sets %s. Call one of them train: the missing '
                           'sets get a share of it' % ', '.join(sets))
    return given


def _by_role(sets):
    """The pictures of sets that are called after a role: role -> list of (AnnotatedSet, Picture). And all others: path
    -> the same pair. Sets may share pictures, such as those of train.csv and train_labels.csv.
    """
    given, free = {role: {} for role in SHARES}, {}
    for name, data in sets.items():
        pairs = given.get(role_of(name), free)
        for picture in data.pictures:
            other, first = pairs.setdefault(picture.path, (data, picture))
            if _objects(other, first) != _objects(data, picture):
                raise DatasetError('%s: has other objects in %s than in %s. Take one of the two away'
                                   % (picture.path, picture.source, first.source))
    return {role: list(pairs.values()) for role, pairs in given.items()}, free


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


def split_pictures(pictures, roles, earlier):
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
                 np.random.RandomState(SEED), placed_groups(groups, pictures, roles, earlier))


def placed_groups(groups, pictures, roles, earlier):
    """Number of a group -> that of the role that one of its pictures had earlier; nothing where a role had none."""
    placed = {}
    for number, group in enumerate(groups):
        known = [earlier[pictures[i].name] for i in group if earlier.get(pictures[i].name) in roles]
        if known:
            placed[number] = roles.index(known[0])
    gone = [role for number, role in enumerate(roles) if number not in placed.values()]
    if earlier and gone:
        logger.warning('no picture of the earlier %s is left under its name: all are split anew, so do not test '
                       'earlier networks on the new sets', listed(list_path('', role) for role in gone))
    if gone:
        return {}
    logger.info('%s stay in the sets of the earlier %s_*.csv; without these files all are split anew',
                counted(sum(len(groups[number]) for number in placed), 'picture'), PREPARED)
    return placed


def check_weights(path):
    """Raise a FileNotFoundError or a CheckpointError unless a file has the backbone that `configuration` then names."""
    check_is_there(path, '--pretrained takes a file, or what stands before its -0000.params')
    arg_params, aux_params = load_params(path)
    takes = '--pretrained takes a ResNet-50 without deformable convolutions, of rfcn import or of an earlier training'
    try:
        style, depth, _, _ = find_trunk(dict(arg_params, **aux_params), path)
    except CheckpointError as error:
        raise CheckpointError('%s. %s' % (error, takes)) from None
    if (style.name, depth) != ('release', 50):
        raise CheckpointError('%s: found a ResNet-%d with the names of %s. %s' % (path, depth, style.name, takes))


def prepare(folder, minutes=60.0, pretrained=''):
    """See the module. Returns the path of the configuration.

    Raises:
        DatasetError, FileNotFoundError: the folder holds nothing to train on; nothing has been written.
        FolderInUse: another run writes there.
    """
    folder = str(folder)
    shared = assign(read_folder(folder), earlier_roles(folder))
    for role, pairs in shared.items():
        objects = sum(len(picture.items) for _, picture in pairs)
        logger.info('%s: %s, %s', role, counted(len(pairs), 'picture'), counted(objects, 'object'))
    data = shared['train'][0][0]
    training = data._replace(pictures=[picture for _, picture in shared['train']])
    config = configuration(folder, data.classes, settings(training, pretrained), pretrained)
    if not pretrained:
        logger.info('without --pretrained a small network starts from random weights: good for a try and for simple '
                    'things; for photographs give a ResNet-50 (data/README.md says where from)')
    lists = [list_path(folder, role) for role in shared]
    path = os.path.join(folder, PREPARED + '.yaml')
    with locked_folder(folder), whole_files(lists + [path], suffix='.csv', last_tells=True) as temporaries:
        for temporary, pairs in zip(temporaries, shared.values()):
            write_list(temporary, pairs)
        complete(config, len(shared['train']), minutes, pretrained, os.path.basename(temporaries[0])[:-len('.csv')])
        Path(temporaries[-1]).write_text('# Written by: rfcn prepare. What the keys mean: rfcn/config/defaults.py.\n'
                                         + as_yaml(config), encoding='utf-8')
    return path


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument('folder', metavar='FOLDER', help='of the pictures and annotations')
    parser.add_argument('--minutes', type=positive, default=60,
                        help='how long the training may take, in minutes (default 60)')
    parser.add_argument('--pretrained', default='', metavar='WEIGHTS',
                        help='weights of a ResNet-50: a file, or what stands before its -0000.params')
    args = parser.parse_args(argv)
    log_to(None)
    if args.pretrained:
        check_weights(start_path(args.pretrained))
    path = prepare(args.folder, args.minutes, args.pretrained)
    status = check_dataset.main(['--cfg', path])
    say('\nwritten: %s\nnext: rfcn train --cfg %s\n      rfcn test --cfg %s' % (path, *[shlex.quote(path)] * 2))
    return status


if __name__ == '__main__':
    run_script(main)
