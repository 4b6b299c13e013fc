"""What a checkpoint says of itself, and whether it agrees with the configuration that it is used with.

    kind       what was trained: end2end, rpn, rfcn, alternate
    settings   every key of the configuration, by its dotted name: classes, anchors, means, scales, schedule, seed, ...
    data       a `DataRecord` of the images: check sums of their names, sizes, boxes and given proposals, and how many
               bytes their files have. So images that are missing, replaced or have other boxes or proposals are noticed
               when the run is resumed, and told apart from a data set that has grown. The folder of the data does not
               count: it may be moved.

A `.states` file holds it (see resume.py). Beside a parameter file without one, the config.yaml that the training wrote
takes its place; its kind and data are then unknown. Of an imported backbone the importer notes the few keys that its
network needs. `ALLOW_CHANGED` lists keys that may differ on purpose.
"""
from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import CheckpointError, ConfigError
from lib.utils.limits import is_there
from rfcn.config.config import Config, flatten, load_config, stated_in, thaw
from rfcn.config.defaults import KEYS
from rfcn.config.kinds import show

logger = logging.getLogger(__name__)

CONFIG = 'config.yaml'
CLASSES, DATA, SCALES, WEIGHTS = 'dataset.CLASSES', 'data', 'SCALES', 'network.pretrained'
_ANCHORS = ('network.ANCHOR_SCALES', 'network.ANCHOR_RATIOS')
# Keys of `network` that do not say what its parameters mean.
_NOT_MEANING = (WEIGHTS, 'network.pretrained_epoch', 'network.PRETRAINED_CLASSES', 'network.FIXED_PARAMS',
                'network.FIXED_PARAMS_SHARED', 'network.NUM_ANCHORS', 'network.IMAGE_STRIDE')
# Keys of `TRAIN` that do not change what the steps compute, or that resuming adapts to.
_NOT_TRAINING = ('WORKERS', 'RESUME', 'OVERWRITE', 'begin_epoch', 'end_epoch', 'model_prefix', 'CHECKPOINT_PERIOD',
                 'KEEP_CHECKPOINTS', 'EVAL_PERIOD', 'BATCH_IMAGES', 'GRAD_ACCUM')
# Keys that must be as in the first network when it is fine-tuned: its input, what its box and anchor layers mean.
_FINE_TUNING = ('network.PIXEL_MEANS', 'network.STRIDE_IN_3X3', 'network.POOL1', 'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED',
                'TRAIN.BBOX_MEANS', 'TRAIN.BBOX_STDS')

Identity = namedtuple('Identity', 'kind settings data')
QUANTIZED = 'int8'      # the kind of a model that was made of a checkpoint; no training goes on from it
SUM_BYTES = 8
# What a training depends on in an entry of a roidb, besides its name. On given proposals the entries have RoIs.
_CONTENT = ('boxes', 'gt_classes', 'rois')
DataRecord = namedtuple('DataRecord', 'sums objects')
DataRecord.__doc__ = """sums: (images, 3, 8) uint8, check sums of each image's name and of what it is trained with,
and the bytes of its file, in the list's order; (images, 2, 8), without the last, of checkpoints before 2026-11-27.
objects: int, how many there are."""
DataChange = namedtuple('DataChange', 'gone new changed reordered')
DataChange.__doc__ = """How many images are no longer in the list, are new in it, have another file or size, other
boxes or other proposals; and whether those that stayed stand in another order."""


def identity_of(cfg: Config, kind: str, roidb: list[dict]) -> Identity:
    """The identity of a training with this configuration on these images."""
    return Identity(kind, settings_of(cfg), data_record(roidb))


def settings_of(cfg: Config) -> dict[str, Any]:
    """Dotted key -> plain value, as JSON gives it back."""
    return {key: _plain(value) for key, value in flatten(thaw(cfg)).items()}


def _plain(value):
    return json.loads(json.dumps(value))


def identity_beside(params: str | os.PathLike) -> Identity | None:
    """What is said beside a parameter file, by the note of a backbone or by config.yaml; None where there is neither
    that can be read.
    """
    note, config = note_of_backbone(params), str(Path(params).parent / CONFIG)
    path = note if is_there(note) else config
    if not is_there(path):
        return None
    try:
        return Identity(None, backbone_settings(params) if path == note else settings_of(load_config(config)), None)
    except (ValueError, FileNotFoundError) as error:    # of its BASE
        logger.warning('%s: what it says of the checkpoint beside it cannot be read: %s', path, error)
        return None


def note_of_backbone(params: str | os.PathLike) -> str:
    """Where the importer notes what a network needs that starts from a backbone: a YAML file beside the parameters."""
    return os.path.splitext(os.fspath(params))[0] + '.yaml'


def backbone_settings(params: str | os.PathLike) -> dict[str, Any]:
    """The importer's note of a backbone: dotted key -> plain value; {} where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    note = note_of_backbone(params)
    return {key: _plain(value) for key, value in stated_in(note).items()} if is_there(note) else {}


def meaning_keys() -> list[str]:
    """Keys that say what the parameters of a network mean, the classes aside."""
    return [key for key in KEYS if key in ('symbol', 'CLASS_AGNOSTIC')
            or key.startswith('network.') and key not in _NOT_MEANING]


def training_keys() -> list[str]:
    """Keys that change what a training learns."""
    of_train = [key for key in KEYS if key.startswith('TRAIN.') and not key.startswith('TRAIN.ALTERNATE.')
                and key[len('TRAIN.'):] not in _NOT_TRAINING]
    return meaning_keys() + [CLASSES, SCALES, 'network.IMAGE_STRIDE', 'RELEASE_RULES', 'seed', WEIGHTS] + of_train


def check_for_inference(identity: Identity, cfg: Config, source: str) -> None:
    """Compare a checkpoint with the configuration that it is tested with. Classes: see rfcn/inference.py.

    Raises:
        CheckpointError: they differ in what changes the result, or it is an INT8 model and shall compute otherwise.
    """
    if identity.kind == QUANTIZED and cfg.TEST.PRECISION != 'int8':
        raise CheckpointError('%s is an INT8 model, whose biases fit rounded weights alone. Write '
                              'TEST.PRECISION=int8, or take the checkpoint that it was made of' % source)
    keys = meaning_keys() + ([] if cfg.TEST.SCALES else [SCALES])
    changed = _differences(identity, cfg, keys)
    if SCALES in changed and identity.settings[SCALES][:1] == settings_of(cfg)[SCALES][:1]:
        del changed[SCALES]         # tests use the first scale, which is the same
    hint = ' (TEST.SCALES tests at other sizes than were trained on)' if SCALES in changed else ''
    _refuse(changed, cfg, source, 'Use the config.yaml that the training wrote' + hint)


def check_fine_tuning(identity: Identity, cfg: Config, source: str) -> None:
    """Compare a checkpoint with the configuration that goes on from its parameters. Raises as `check_for_inference`."""
    if identity.kind == QUANTIZED:
        raise CheckpointError('%s is an INT8 model, from which no training goes on. Take the checkpoint that it was '
                              'made of' % source)
    keys = needed_to_start(identity, cfg.network.NUM_ANCHORS)
    _refuse(_differences(identity, cfg, keys), cfg, source, 'Take over the values of the checkpoint')


def needed_to_start(identity: Identity, num_anchors: int) -> dict[str, Any]:
    """What a training of so many anchors needs that starts from a checkpoint: dotted key -> value."""
    same = identity.settings.get('network.NUM_ANCHORS') == num_anchors      # else these layers start anew
    keys = _FINE_TUNING + (_ANCHORS if same else ())
    return {key: identity.settings[key] for key in keys if key in identity.settings}


def check_resuming(identity: Identity, now: Identity, cfg: Config, source: str) -> bool:
    """Compare a checkpoint with the training that goes on from it.

    Args:
        identity, now: of the checkpoint, and of the training.
    Returns:
        whether images and their order are the same.
    Raises:
        CheckpointError: another kind of training, other settings, or data that have not only grown.
    """
    if identity.kind not in (None, now.kind):
        raise CheckpointError('%s is of another kind of training (%s, and this is %s): choose another output_path, or '
                              'begin anew in its place with TRAIN.OVERWRITE=true' % (source, identity.kind, now.kind))
    changed = _differences(identity, cfg, training_keys())
    change = identity.data and data_change(identity.data, now.data)
    if change and (change.gone or change.changed):
        changed[DATA] = ('%d images, of which %d are gone and %d have other boxes or proposals, or another picture'
                         % (len(identity.data.sums), change.gone, change.changed), '%d images, %d of them new'
                         % (len(now.data.sums), change.new))
    _refuse(changed, cfg, source, 'Go on with the settings and data that the run was begun with; or begin anew in '
                                  'another output_path (network.pretrained goes on from these parameters), or in its '
                                  'place with TRAIN.OVERWRITE=true')
    if change:
        logger.warning('%s: the data have changed since (%d images are gone, %d new, %d have other boxes or '
                       'proposals%s): the epoch that was begun starts again, and what follows is not what it would '
                       'have been without the change', source, change.gone, change.new, change.changed,
                       ', the list has another order' if change.reordered else '')
    return not change


def classes_of(identity: Identity | None) -> tuple[str, ...]:
    """The classes of a checkpoint, without background; () where they are not known."""
    return tuple(identity.settings.get(CLASSES, ())) if identity else ()


def is_allowed(key: str, cfg: Config) -> bool:
    """Whether a key may differ from the checkpoint's.

    Raises:
        ConfigError: ALLOW_CHANGED names something that does not exist.
    """
    unknown = [name for name in cfg.ALLOW_CHANGED if name not in KEYS and name != DATA]
    if unknown:
        raise ConfigError('ALLOW_CHANGED: there is no key %s; expected keys of the configuration, such as '
                          'network.PIXEL_MEANS, or data' % ', '.join(unknown))
    return key in cfg.ALLOW_CHANGED


def _differences(identity, cfg, keys):
    """Key -> its value in the checkpoint, its value now. Keys that the checkpoint does not know are passed over."""
    before, now = identity.settings, settings_of(cfg)
    return {key: (show(before[key]), show(now[key])) for key in keys
            if key in before and _comparable(key, before[key]) != _comparable(key, now[key])}


def _comparable(key, value):
    return os.path.basename(value) if key == WEIGHTS else value     # the folder may have been moved


def _refuse(changed, cfg, source, remedy):
    left = {key: values for key, values in changed.items() if not is_allowed(key, cfg)}
    if left:
        told = '; '.join('%s was %s, now %s' % (key, *values) for key, values in left.items())
        raise CheckpointError('%s was trained with something else: %s. %s. Where the change is meant: '
                              'ALLOW_CHANGED=[%s]' % (source, told, remedy, ','.join(left)))
    for key, (before, now) in changed.items():
        logger.warning('%s: %s was %s, now %s, as ALLOW_CHANGED allows', source, key, before, now)


def data_record(roidb: list[dict]) -> DataRecord:
    """The `DataRecord` of a roidb. Mirror images, which follow from a setting, are left out."""
    entries = [entry for entry in roidb if not entry['flipped']]
    sums = [_sum(entry['index'].encode('utf-8', 'surrogateescape')) + _sum(*_content(entry)) + _file_bytes(entry)
            for entry in entries]
    return DataRecord(np.frombuffer(b''.join(sums), dtype=np.uint8).reshape(-1, 3, SUM_BYTES),
                      sum(len(entry['boxes']) for entry in entries))


def _content(entry):
    yield np.array([entry['width'], entry['height']], dtype=np.int64).tobytes()
    for name in _CONTENT:
        if name in entry:
            value = np.asarray(entry[name])
            yield np.ascontiguousarray(value, dtype=np.float64 if value.dtype.kind == 'f' else np.int64).tobytes()


def _file_bytes(entry):
    """How many bytes an image's file has, in SUM_BYTES; 0 without a file."""
    try:
        return os.stat(entry['image']).st_size.to_bytes(SUM_BYTES, 'little')
    except OSError:
        return bytes(SUM_BYTES)


def _sum(*parts):
    digest = hashlib.blake2b(digest_size=SUM_BYTES)
    for part in parts:
        digest.update(b'%d:' % len(part) + part)
    return digest.digest()


def summary(record: DataRecord) -> dict[str, Any]:
    """Plain values for a note: images, objects, and a sum of everything."""
    return {'images': len(record.sums), 'objects': record.objects, 'sum': _sum(record.sums.tobytes()).hex()}


def data_change(before: DataRecord, now: DataRecord) -> DataChange | None:
    """What has changed between two records; None if nothing has."""
    columns = min(before.sums.shape[1], now.sums.shape[1])
    sums = [record.sums[:, :columns] for record in (before, now)]
    if np.array_equal(*sums):
        return None
    pairs = [[(image[0].tobytes(), image[1:].tobytes()) for image in of] for of in sums]
    names = [Counter(name for name, _ in of) for of in pairs]
    gone, new = names[0] - names[1], names[1] - names[0]
    lost = Counter(pairs[0]) - Counter(pairs[1])
    stayed = [[name for name, _ in of if name not in gone and name not in new] for of in pairs]
    return DataChange(sum(gone.values()), sum(new.values()), sum(lost.values()) - sum(gone.values()),
                      stayed[0] != stayed[1])
