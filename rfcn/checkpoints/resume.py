"""Where a training run stood, and how to take it up again.

    prefix-0007.states       after epoch 7: momentum and progress; the parameters are in prefix-0007.params
    prefix-interrupted.states    a run that was asked to stop within an epoch: the same and the parameters, in one file
"""
import json
import logging
import os
import re
import zlib
from collections import namedtuple
from pathlib import Path

import mxnet as mx
import numpy as np

from lib.errors import CheckpointError
from rfcn.checkpoints.checkpoint import (load_arrays, load_params, params_path, save_arrays, split_params, states_path,
                                         tag_params)

logger = logging.getLogger(__name__)

_MOMENTUM = 'momentum:'
_PROGRESS = 'progress'

Progress = namedtuple('Progress', 'epoch batch num_update batches_done best checksum')
Progress.__doc__ = """Finished epochs, batches done of the next one, updates and batches since the start, best
validation score, and a checksum of the parameters that belong to it."""

Standing = namedtuple('Standing', 'arg_params aux_params momenta progress source')
Standing.__doc__ = 'All that a run needs to go on; momenta and progress are None where only parameters are known.'


def interrupted_path(prefix):
    """`prefix-interrupted.states`."""
    return prefix + '-interrupted.states'


def checksum(arg_params, aux_params):
    """A number that tells whether parameters and progress belong together."""
    value = 0
    for params in (arg_params, aux_params):
        for name in sorted(params):
            value = zlib.crc32(params[name].asnumpy().tobytes(), zlib.crc32(name.encode('utf-8'), value))
    return value


def save_states(path, momenta, progress, params=None):
    """Write momentum and progress.

    Args:
        momenta: parameter name -> NDArray.
        progress: a Progress.
        params: arg_params, aux_params to put into the same file.
    """
    arrays = tag_params(*params) if params else {}
    arrays.update((_MOMENTUM + name, value.as_in_context(mx.cpu())) for name, value in momenta.items())
    text = json.dumps(progress._asdict()).encode('utf-8')
    arrays[_PROGRESS] = mx.nd.array(np.frombuffer(text, dtype=np.uint8), dtype=np.uint8)
    save_arrays(path, arrays)


def load_states(path):
    """What `save_states` wrote: momenta, progress, and the rest of the arrays.

    Raises:
        FileNotFoundError, CheckpointError: missing, damaged, or another program's file.
    """
    try:
        arrays = load_arrays(path)
        fields = json.loads(arrays.pop(_PROGRESS).asnumpy().astype(np.uint8).tobytes().decode('utf-8'))
        progress = Progress(**fields)
        _check_progress(progress)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError('%s: no training state of this project (%s)' % (path, error)) from None
    momenta = {name[len(_MOMENTUM):]: arrays.pop(name) for name in list(arrays) if name.startswith(_MOMENTUM)}
    return momenta, progress, arrays


def _check_progress(progress):
    """Raise a ValueError unless the numbers are numbers."""
    for name, value in progress._asdict().items():
        known = (int, float, type(None)) if name in ('best', 'checksum') else (int,)
        if isinstance(value, bool) or not isinstance(value, known) \
                or value is not None and name != 'best' and value < 0:
            raise ValueError('%s is %.50r' % (name, value))


def at_epoch(prefix, epoch):
    """The run as it stood after an epoch.

    The release's own checkpoints resume too, with momentum and update count anew: its state files pickle Python
    objects.

    Raises:
        FileNotFoundError, CheckpointError: the parameters are missing or damaged, or belong to other states.
    """
    path = params_path(prefix, epoch)
    arg_params, aux_params = load_params(path)
    try:
        momenta, progress, _ = load_states(states_path(prefix, epoch))
    except (FileNotFoundError, CheckpointError) as error:
        logger.warning('%s: resumed without momentum; updates are counted from the epoch (%s)', path, error)
        return Standing(arg_params, aux_params, None, None, path)
    if progress.checksum != checksum(arg_params, aux_params):
        raise CheckpointError('%s and %s are of different runs' % (path, states_path(prefix, epoch)))
    return Standing(arg_params, aux_params, momenta, progress, path)


def newest(prefix):
    """The run as it stood last: the newest of the complete checkpoints and the file of an interruption.

    None where there is none. Files that are damaged or do not belong together are passed over with a warning.
    """
    standings = (_try(at_epoch, prefix, epoch) for epoch in reversed(epochs_with_states(prefix)))
    finished = next((s for s in standings if s and s.progress), None)
    stopped = _try(_interrupted, prefix) if os.path.exists(interrupted_path(prefix)) else None
    found = [s for s in (finished, stopped) if s]
    return max(found, key=lambda s: (s.progress.epoch, s.progress.batch)) if found else None


def epochs_with_states(prefix):
    """Sorted epochs that have both a parameter and a state file."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r'-(\d{4})\.params$')
    found = (pattern.match(entry.name) for entry in Path(folder or '.').glob('*.params'))
    return sorted(int(m.group(1)) for m in found if m and os.path.exists(states_path(prefix, int(m.group(1)))))


def prune(prefix, keep):
    """Delete the checkpoints of all but the newest `keep` epochs; the best one has a name of its own and stays."""
    for epoch in epochs_with_states(prefix)[:-keep]:
        for path in (params_path(prefix, epoch), states_path(prefix, epoch)):
            os.remove(path)


def _interrupted(prefix):
    path = interrupted_path(prefix)
    momenta, progress, arrays = load_states(path)
    return Standing(*split_params(arrays, path), momenta, progress, path)


def _try(read, *args):
    try:
        return read(*args)
    except (FileNotFoundError, CheckpointError) as error:
        logger.warning('passed over: %s', error)
        return None
