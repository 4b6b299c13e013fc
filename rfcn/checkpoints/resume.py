"""Resuming a training run: from its newest checkpoint, or from the point within an epoch where it was stopped.

Only the run that a checkpoint belongs to can be resumed from it: with the same settings (identity.py), on the same
images or on more of them. Progress is counted in images, so it means the same with batches of another size.

A training by steps is resumed by notes: beside the results of a step lies a note of what made them, and results of
other settings are not used again.
"""
from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any, Sequence

import yaml

from lib.errors import CheckpointError
from lib.utils.limits import is_there, open_input
from lib.utils.safe_load import parse_yaml
from lib.utils.whole_file import save_text
from rfcn.checkpoints.checkpoint import CURVES, check_is_there, load_params, params_path, split_params, states_path
from rfcn.checkpoints.identity import CONFIG, QUANTIZED, Identity, check_resuming, identity_beside
from rfcn.checkpoints.pretrained import load_start, pretrained_path
from rfcn.checkpoints.states import Progress, check_sum, identity_of_params, load_states, states_beside
from rfcn.config.config import Config, thaw

ALONE = 'end2end'   # a kind of training that shares its folder with no other; those of single parts may be together

SavedRun = namedtuple('SavedRun', 'arg_params aux_params momenta progress identity source')
SavedRun.__doc__ = """What a run is resumed from; momenta and progress are None if only parameters are known, and
identity if no file states it."""
# Keys that do not change what a step learns. What the data are is noted by their sum, not by their folder.
_ASIDE = {'dataset': ('root_path', 'dataset_path', 'test_image_set', 'val_image_set'),
          'TRAIN': ('ALTERNATE', 'WORKERS', 'CHECKPOINT_PERIOD', 'KEEP_CHECKPOINTS', 'EVAL_PERIOD', 'RESUME',
                    'OVERWRITE', 'model_prefix')}
_TRAINING = ('symbol', 'CLASS_AGNOSTIC', 'SCALES', 'RELEASE_RULES', 'seed', 'network', 'dataset', 'TRAIN')
_FILES = 'files'
OTHER_RUN = '%s holds another run (%s): TRAIN.RESUME=auto goes on with it if it is the same'
NOT_WHOLE = ('%s holds another run (%s), and no parameters with their states that TRAIN.RESUME=auto could go on from: '
             'TRAIN.RESUME=true TRAIN.begin_epoch=N goes on from the parameters of epoch N, without momentum')

logger = logging.getLogger(__name__)


def interrupted_path(prefix: str) -> str:
    """`prefix-interrupted.states`."""
    return prefix + '-interrupted.states'


def begin(cfg: Config, prefix: str, identity: Identity) -> tuple[SavedRun | None, bool]:
    """What TRAIN.RESUME resumes from; None for a new run, whose checkpoints then have a free place.

    Args:
        identity: of the run that begins.
    Returns:
        a SavedRun or None, and whether its images and their order are the same.
    Raises:
        CheckpointError: the checkpoint belongs to another run, or a new run would overwrite one.
        FileNotFoundError: there is no such checkpoint to go on from, or no network to start from.
    """
    saved = newest(prefix) if cfg.TRAIN.RESUME == 'auto' else None
    if cfg.TRAIN.RESUME is True:
        check_is_there(params_path(prefix, cfg.TRAIN.begin_epoch), 'TRAIN.RESUME=true goes on from the epoch '
                       'TRAIN.begin_epoch; TRAIN.RESUME=auto from the newest checkpoint')
        saved = at_epoch(prefix, cfg.TRAIN.begin_epoch)
    same_data = True
    if saved and saved.identity:
        try:
            same_data = check_resuming(saved.identity, identity, cfg, saved.source)
        except CheckpointError:
            if not (cfg.TRAIN.OVERWRITE and cfg.TRAIN.RESUME == 'auto'):
                raise
            saved = None
    if not saved:
        if cfg.network.pretrained:
            check_start(cfg, prefix)
        make_room(prefix, cfg.TRAIN.OVERWRITE, OTHER_RUN if cfg.TRAIN.RESUME != 'auto' else NOT_WHOLE)
    check_neighbours(prefix, identity.kind, cfg.TRAIN.OVERWRITE)
    return saved, same_data


def files_of(prefix: str) -> list[str]:
    """Paths of the checkpoints and the log of a run, sorted."""
    return sorted(path for end in ('[0-9][0-9][0-9][0-9].params', '[0-9][0-9][0-9][0-9].states', 'best.params',
                                   'best.states', 'interrupted.states', 'log.jsonl')
                  for path in glob.glob(glob.escape(prefix) + '-' + end))


def check_start(cfg: Config, prefix: str) -> None:
    """Raise a FileNotFoundError or a CheckpointError, before an earlier run is removed, if `network.pretrained` is not
    there, does not suit the configuration, or is of the earlier run itself.
    """
    path = pretrained_path(cfg)
    earlier = files_of(prefix)
    if os.path.realpath(path) in map(os.path.realpath, earlier):
        raise CheckpointError('%s: network.pretrained names a checkpoint of the run that this one would take the place '
                              'of: choose another output_path' % path)
    if earlier:
        load_start(cfg, path)


def make_room(prefix: str, overwrite: bool, held: str = OTHER_RUN) -> None:
    """Remove an earlier run of the same name with `overwrite`; without it, raise a CheckpointError if there is one.

    Args:
        held: what the error says that the folder holds, and how to go on from it.
    """
    files = files_of(prefix)
    if not any(path.endswith('.params') or path == interrupted_path(prefix) for path in files):
        return      # at most what a run left that was killed before its first checkpoint
    if not overwrite:
        raise CheckpointError(held % (os.path.dirname(prefix), ', '.join(map(os.path.basename, files)))
                              + ', TRAIN.OVERWRITE=true removes it, another output_path leaves it alone')
    for path in files:
        os.remove(path)
    shutil.rmtree(prefix + CURVES, ignore_errors=True)
    logger.warning('TRAIN.OVERWRITE: removed %d files of an earlier run, %s-*', len(files), prefix)


def check_neighbours(prefix: str, kind: str, overwrite: bool) -> None:
    """An end-to-end training does not share its folder, and its config.yaml, with a run of another name.

    INT8 models of its own checkpoints are no runs.
    """
    for path in sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(prefix)), '*-[0-9][0-9][0-9][0-9].states'))):
        other = re.sub(r'-\d{4}\.states$', '', path)
        if other == prefix or overwrite or not os.path.exists(params_path(other, int(path[-11:-7]))):
            continue
        told = identity_of_params(re.sub('states$', 'params', path))
        if told and told.kind != QUANTIZED and ALONE in (kind, told.kind):
            raise CheckpointError('%s holds another run (%s-*): choose another output_path; or TRAIN.OVERWRITE=true '
                                  'replaces its %s and leaves its checkpoints'
                                  % (os.path.dirname(prefix), other, CONFIG))


def at_epoch(prefix: str, epoch: int) -> SavedRun:
    """The run as it stood after an epoch.

    The release's own checkpoints can be resumed too, without momentum and with updates counted anew: its state files
    are pickled Python objects.

    Raises:
        FileNotFoundError, CheckpointError: the parameters are missing or damaged, or the states belong to others.
    """
    path = params_path(prefix, epoch)
    params = load_params(path)
    try:
        told = load_states(states_path(prefix, epoch))
    except (FileNotFoundError, CheckpointError) as error:
        logger.warning('%s: resumed without momentum; updates are counted from the epoch (%s)', path, error)
        return SavedRun(*params, None, None, identity_beside(path), path)
    return _with_states(path, params, told)


def _complete_at(prefix, epoch):
    """As `at_epoch`, but states that are missing or damaged are an error."""
    path = params_path(prefix, epoch)
    return _with_states(path, load_params(path), load_states(states_path(prefix, epoch)))


def _with_states(path, params, told):
    """The SavedRun of a parameter file's content and of what `load_states` read of its states."""
    momenta, progress, identity, _ = told
    check_sum(progress, params, path, states_beside(path))
    return SavedRun(*params, momenta, progress, identity, path)


def newest(prefix: str) -> SavedRun | None:
    """The run as it stood last: the newest of the complete checkpoints and the file of an interruption.

    None where there is none. Files that are damaged or do not belong together are passed over with a warning.
    """
    saved = (_try(_complete_at, prefix, epoch) for epoch in reversed(epochs_with_states(prefix)))
    whole = next((run for run in saved if run), None)
    stopped = _try(_interrupted, prefix) if os.path.exists(interrupted_path(prefix)) else None
    found = [run for run in (whole, stopped) if run]
    return max(found, key=lambda run: (run.progress.epoch, run.progress.images)) if found else None


def epochs_with_states(prefix: str) -> list[int]:
    """Sorted epochs that have both a parameter and a state file."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r'-(\d{4})\.params$')
    found = (pattern.match(entry.name) for entry in Path(folder or '.').glob('*.params'))
    return sorted(int(m.group(1)) for m in found if m and os.path.exists(states_path(prefix, int(m.group(1)))))


def prune(prefix: str, keep: int) -> None:
    """Delete the checkpoints of all but the newest `keep` epochs; the best one has a name of its own and stays."""
    for epoch in epochs_with_states(prefix)[:-keep]:
        for path in (params_path(prefix, epoch), states_path(prefix, epoch)):
            os.remove(path)


def fitted(progress: Progress, same_data: bool, epoch_images: int, step_images: int, accumulate: int) -> Progress:
    """The progress of a run that is resumed with other batches or on other images.

    Counts of updates and batches become those of a run that was like this from its start, so that the learning rate
    drops after the same epochs. An epoch that was begun is ended with the images that it has not seen; if the images
    have changed it starts again.

    Args:
        same_data: whether the images and their order are the same.
        epoch_images, step_images, accumulate: as in `Progress`, now.
    """
    counted_in = progress.epoch_images, progress.step_images, progress.accumulate
    if same_data and counted_in == (epoch_images, step_images, accumulate):
        return progress
    images = progress.images if same_data else 0
    whole, left = (-(-count // step_images) for count in (epoch_images, epoch_images - images))
    batches = (progress.epoch + 1) * whole - left
    updates = (progress.epoch + 1) * -(-whole // accumulate) - -(-left // accumulate)
    return progress._replace(images=images, num_update=updates, batches_done=batches, epoch_images=epoch_images,
                             step_images=step_images, accumulate=accumulate,
                             order_images=progress.order_images if images else step_images)


def _interrupted(prefix):
    path = interrupted_path(prefix)
    momenta, progress, identity, arrays = load_states(path)
    return SavedRun(*split_params(arrays, path), momenta, progress, identity, path)


def _try(read, *args):
    try:
        return read(*args)
    except (FileNotFoundError, CheckpointError) as error:
        logger.warning('passed over: %s', error)
        return None


def training_settings(cfg: Config) -> dict[str, Any]:
    """What of a configuration decides the result of a training, as plain values."""
    settings = {name: thaw(cfg[name]) for name in _TRAINING}
    for section, names in _ASIDE.items():
        for name in names:
            del settings[section][name]
    return settings


def note_text(settings: dict[str, Any], sources: Sequence[str | os.PathLike]) -> str:
    """The text of a note.

    Args:
        settings: plain values.
        sources: paths of the notes of what the step starts from.
    """
    made_from = {Path(path).stem: sum_of_file(path) for path in sources}
    return _yaml(dict(settings, made_from=made_from))


def changed_lines(path: str | os.PathLike, text: str) -> list[str]:
    """The lines of a new note that the one at `path` lacks; empty if there is no note yet, or the same."""
    before = _read_note(path)
    if before is None:
        return []
    lines = [line.strip() for line in text.splitlines() if line not in before.splitlines()]
    return lines or (['fewer settings'] if text != before else [])


def save_note(path: str | os.PathLike, text: str, files: Sequence[str | os.PathLike]) -> None:
    """Write a note that also holds the sums of the files that the step has made, beside it or below."""
    folder = os.path.dirname(str(path))
    save_text(path, text + _yaml({_FILES: {os.path.relpath(str(file), folder): sum_of_file(file) for file in files}}))


def is_up_to_date(path: str | os.PathLike, text: str) -> bool:
    """Whether there is a note of this text, and the files that it lists have not changed since."""
    before = _read_note(path)
    if before is None or not before.startswith(text):
        return False
    try:
        files = parse_yaml(before[len(text):])[_FILES]
        return bool(files) and all(sum_of_file(Path(path).parent / name) == value for name, value in files.items())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False


def _read_note(path):
    """The text of a note, with marks for what is no text; None where there is none."""
    if not is_there(path):
        return None
    with open_input(path, 'r', encoding='utf-8', errors='replace') as file:
        return file.read()


def sum_of_file(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open_input(path) as file:
        for part in iter(lambda: file.read(2 ** 20), b''):
            digest.update(part)
    return digest.hexdigest()


def _yaml(values):
    return yaml.safe_dump(values, default_flow_style=None, sort_keys=False, width=120)
