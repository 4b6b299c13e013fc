"""The files of states: how far a training has come, and what was trained.

    prefix-0007.states           after epoch 7: momentum, progress, and what the run is (identity.py); the parameters
                                 are in prefix-0007.params, whose sum is in the progress
    prefix-best.states           the same for prefix-best.params
    prefix-interrupted.states    a run that was asked to stop within an epoch: the same and the parameters, in one file
"""
from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections import namedtuple

import mxnet as mx
import numpy as np

from lib.errors import CheckpointError
from lib.utils.limits import is_there
from lib.utils.whole_file import save_whole
from rfcn.checkpoints.checkpoint import Params, load_arrays, save_arrays, tag_params, write_arrays
from rfcn.checkpoints.identity import SUM_BYTES, DataRecord, Identity, identity_beside
from rfcn.checkpoints.params_file import read_bytes

logger = logging.getLogger(__name__)

_MOMENTUM = 'momentum:'
_PROGRESS, _IDENTITY, _DATA = 'progress', 'identity', 'data'

Progress = namedtuple('Progress', 'epoch images num_update batches_done best checksum epoch_images step_images '
                                  'accumulate order_images')
Progress.__doc__ = """Finished epochs, images done of the next one, updates and batches since the start, best validation
score, and a sum of the parameters that belong to it. Then what these counts are of: images of an epoch, images of a
batch (over all devices), batches of an update, and the batch for which the order of the running epoch was drawn."""


def states_beside(params: str | os.PathLike) -> str:
    """The name of the states of a parameter file."""
    return re.sub(r'\.params$', '', str(params)) + '.states'


def checksum(arg_params: Params, aux_params: Params) -> int:
    """A check sum of parameters, by which progress is known to belong to them."""
    value = 0
    for params in (arg_params, aux_params):
        for name in sorted(params):
            value = zlib.crc32(params[name].asnumpy().tobytes(), zlib.crc32(name.encode('utf-8'), value))
    return value


def save_states(path: str, momenta: Params, progress: Progress, identity: Identity | None = None,
                params: tuple[Params, Params] | None = None) -> None:
    """Write momentum, progress and identity.

    Args:
        momenta: parameter name -> NDArray.
        progress: a Progress.
        identity: an Identity.
        params: arg_params, aux_params to put into the same file.
    """
    save_arrays(path, states_arrays(momenta, progress, identity, params))


def save_checkpoint(path: str, arg_params: Params, aux_params: Params, momenta: Params, progress: Progress,
                    identity: Identity | None = None, extra: Params | None = None) -> None:
    """Write a parameter file and its states; both get their names, or neither.

    Args:
        path: of the parameters.
        extra: name -> NDArray, more parameters for the file; the sum in the progress is without them.
    """
    def write(states, params):
        write_arrays(states, states_arrays(momenta, progress, identity))
        write_arrays(params, tag_params(dict(arg_params, **(extra or {})), aux_params))
    save_whole([states_beside(path), path], write)  # a parameter file that is there has its states


def finished(arg_params: Params, aux_params: Params) -> Progress:
    """The Progress of parameters that no run resumes from: joined or quantised ones."""
    return Progress(0, 0, 0, 0, None, checksum(arg_params, aux_params), 0, 0, 0, 0)


def states_arrays(momenta: Params, progress: Progress, identity: Identity | None,
                  params: tuple[Params, Params] | None = None) -> Params:
    """Name -> NDArray of a file of states; see `save_states`."""
    arrays = tag_params(*params) if params else {}
    arrays.update((_MOMENTUM + name, value.as_in_context(mx.cpu())) for name, value in momenta.items())
    arrays[_PROGRESS] = _as_array(json.dumps(progress._asdict()))
    if identity:
        data = identity.data and {'objects': identity.data.objects, 'columns': identity.data.sums.shape[1]}
        arrays[_IDENTITY] = _as_array(json.dumps(dict(kind=identity.kind, settings=identity.settings, data=data)))
        if data:
            arrays[_DATA] = mx.nd.array(identity.data.sums, dtype=np.uint8)
    return arrays


def _as_array(text):
    return mx.nd.array(np.frombuffer(text.encode('utf-8'), dtype=np.uint8), dtype=np.uint8)


def load_states(path: str) -> tuple[Params, Progress, Identity | None, Params]:
    """What `save_states` wrote: momenta, progress, identity or None, and the rest of the arrays.

    Raises:
        FileNotFoundError, CheckpointError: missing, damaged, or another program's file.
    """
    arrays = load_arrays(path)
    told = {name: arrays.pop(name).asnumpy() for name in (_PROGRESS, _IDENTITY, _DATA) if name in arrays}
    progress, identity = _read_told(told, path)
    momenta = {name[len(_MOMENTUM):]: arrays.pop(name) for name in list(arrays) if name.startswith(_MOMENTUM)}
    return momenta, progress, identity, arrays


def _read_told(told, path):
    """Progress and identity from their arrays of bytes."""
    try:
        progress = Progress(**_parsed(told[_PROGRESS]))
        _check_progress(progress)
        return progress, _read_identity(told) if _IDENTITY in told else None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError('%s: no training state of this project (%s). A training can begin with the parameters '
                              'beside it: network.pretrained' % (path, error)) from None


def _parsed(array):
    return json.loads(np.asarray(array).astype(np.uint8).tobytes().decode('utf-8'))


def _read_identity(told):
    fields = _parsed(told[_IDENTITY])
    settings, data = dict(fields['settings']), fields['data']
    if data is not None:
        sums = np.asarray(told[_DATA]).astype(np.uint8).reshape(-1, data.get('columns', 2), SUM_BYTES)
        data = DataRecord(sums, int(data['objects']))
    return Identity(fields['kind'], settings, data)


def _check_progress(progress):
    """Raise a ValueError unless the numbers are numbers."""
    for name, value in progress._asdict().items():
        known = (int, float, type(None)) if name in ('best', 'checksum') else (int,)
        if isinstance(value, bool) or not isinstance(value, known) \
                or value is not None and name != 'best' and value < 0:
            raise ValueError('%s is %.50r' % (name, value))


def identity_of_params(path: str, params: tuple[Params, Params] | None = None) -> Identity | None:
    """The Identity of a parameter file: from its states, or else from the config.yaml beside it; None without either.

    Args:
        params: arg_params, aux_params of the file, to make sure that the states are theirs.
    Raises:
        CheckpointError: the states belong to other parameters.
    """
    states = states_beside(path)
    if is_there(states):
        try:
            progress, identity = _read_told(read_bytes(states, (_PROGRESS, _IDENTITY, _DATA)), states)
        except CheckpointError as error:    # such as the release's, pickled objects
            logger.info('%s', error)
        else:
            if params:
                check_sum(progress, params, path, states)
            if identity:
                return identity
    return identity_beside(path)


def check_sum(progress: Progress, params: tuple[Params, Params], path: str, states: str) -> None:
    """Raise a CheckpointError unless parameters and progress, from these files, belong together."""
    if progress.checksum != checksum(*params):
        raise CheckpointError('%s and %s are of different runs: take the two from the same place again, or remove the '
                              'second one to use the parameters alone' % (path, states))
