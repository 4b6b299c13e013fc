"""Checkpoints in the release's format, written so that a crash leaves the old file or the new one, never half a file.

    prefix-0007.params   `arg:` and `aux:` parameters after epoch 7, the box layer also un-normalised as
                         rfcn_bbox_weight_test
    prefix-0007.states   momentum and progress, for resuming: see resume.py
    prefix-symbol.json   the graph for testing
"""
from __future__ import annotations

import glob
import logging
import os
from pathlib import Path
from typing import Dict

import mxnet as mx
import numpy as np

from lib.errors import CheckpointError, error_line
from lib.utils.console import counted
from lib.utils.limits import NoInput, is_there
from lib.utils.memory import is_lack_of_memory
from lib.utils.whole_file import save_text, save_whole
from rfcn.checkpoints.params_file import check_params_file

logger = logging.getLogger(__name__)

Params = Dict[str, mx.nd.NDArray]     # name -> values

BBOX_LAYERS = ('rfcn_bbox', 'rcnn_bbox')  # layers whose output is normalised box deltas
BBOX_PARAMS = [layer + kind for layer in BBOX_LAYERS for kind in ('_weight', '_bias')]
TEST_SUFFIX = '_test'
FINAL_EPOCH = 0         # number of the network that alternating training joins, as in the release
CURVES = '-curves'      # ends the name of the folder of a run's curves
SYMBOL_END = '-symbol.json'     # ends the name of a file of a graph


def params_path(prefix: str, epoch: int) -> str:
    """`prefix-0007.params`."""
    return '%s-%04d.params' % (prefix, epoch)


def start_path(named: str, epoch: int = 0) -> str:
    """The parameter file that a training starts from: one named in full, or `prefix-0000.params` of a prefix."""
    return named if named.endswith('.params') else params_path(named, epoch)


def states_path(prefix: str, epoch: int) -> str:
    """`prefix-0007.states`."""
    return '%s-%04d.states' % (prefix, epoch)


def check_name(path: str) -> None:
    """Find out before a long work whether MXNet can write a file of this name: else a UnicodeEncodeError has it."""
    os.path.realpath(path).encode('utf-8')      # also of the folder: temporary files have it in their names


def check_new_pair(path: str, companion: str, pattern: str, source: str) -> None:
    """Find out before a long work whether parameters and a file that describes them can get their names.

    Args:
        path: of the parameters. companion: the other file's name.
        pattern: of paths (glob), of all parameters that a file of that name there describes.
        source: path of what they are made of.
    Raises:
        CheckpointError: there are other parameters, which would then have a wrong description; or the source would be
            replaced.
        UnicodeEncodeError: MXNet cannot write a file of this name.
    """
    check_name(path)
    target = os.path.realpath(path)
    kept = [other for other in sorted(glob.glob(pattern))
            if os.path.realpath(other) != target or target == os.path.realpath(source)]
    if kept:
        raise CheckpointError('%s cannot be written: %s beside it would take the place of what belongs to %s. Give '
                              'another name or another folder' % (path, companion, ', '.join(kept)))


def check_new_graph(path: str, source: str) -> None:
    """`check_new_pair` of `prefix-0000.params`, the path, and `prefix-symbol.json`."""
    prefix = path[:-len('-0000.params')]
    check_new_pair(path, os.path.basename(prefix) + SYMBOL_END, glob.escape(prefix) + '-[0-9][0-9][0-9][0-9].params',
                   source)


def write_arrays(path: str, arrays: Params) -> None:
    """Write named arrays in MXNet's format. The path is a temporary one: `save_whole` gives the file its name."""
    mx.nd.save(path, arrays)
    check_params_file(path)    # MXNet does not notice if the disk has no room for the last few kilobytes


def save_arrays(path: str, arrays: Params) -> None:
    """Write named arrays in MXNet's format, whole. Raises as `save_whole`."""
    save_whole([path], lambda temporary: write_arrays(temporary, arrays))


def save_symbol(path: str, symbol: mx.sym.Symbol) -> None:
    """Write a graph for MXNet's `sym.load`; its own `save` does not notice a full disk. Raises as `save_whole`."""
    save_text(path, symbol.tojson())


def unnormalised_bbox(arg_params: Params, means: np.ndarray, stds: np.ndarray, bins_squared: int) -> Params:
    """The box layers' parameters for inference: they give deltas, where the trained ones give (delta - mean) / std.

    Args:
        means, stds: (4 * num_reg_classes,).
        bins_squared: k * k, the maps of one output; they lie side by side.
    Returns:
        dict of `<layer>_weight_test` and `<layer>_bias_test`.
    Departure: the release looks for rfcn_bbox alone and fails for another head. Source: its callback.do_checkpoint.
    """
    result = {}
    for layer in BBOX_LAYERS:
        if layer + '_weight' not in arg_params:
            continue
        weight, bias = arg_params[layer + '_weight'].asnumpy(), arg_params[layer + '_bias'].asnumpy()
        repeats = len(bias) // len(means)
        if repeats not in (1, bins_squared):
            raise CheckpointError('%s has %d outputs; %d targets expected, each once or %d times'
                                  % (layer, len(bias), len(means), bins_squared))
        mean, std = np.repeat(means, repeats), np.repeat(stds, repeats)
        result[layer + '_weight' + TEST_SUFFIX] = mx.nd.array(weight * std.reshape((-1,) + (1,) * (weight.ndim - 1)))
        result[layer + '_bias' + TEST_SUFFIX] = mx.nd.array(bias * std + mean)
    return result


def save_params(path: str, arg_params: Params, aux_params: Params) -> None:
    """Write parameters in MXNet's format with `arg:` and `aux:` before their names."""
    save_arrays(path, tag_params(arg_params, aux_params))


def tag_params(arg_params: Params, aux_params: Params) -> Params:
    """Name -> array with `arg:` and `aux:` before the names, on the CPU."""
    tagged = {'arg:' + name: value.as_in_context(mx.cpu()) for name, value in arg_params.items()}
    tagged.update(('aux:' + name, value.as_in_context(mx.cpu())) for name, value in aux_params.items())
    return tagged


def load_params(path: str, for_inference: bool = False) -> tuple[Params, Params]:
    """Read a parameter file.

    Args:
        for_inference: take the un-normalised box parameters under the plain names, where the file has them.
    Returns:
        arg_params, aux_params: name -> NDArray.
    Raises:
        FileNotFoundError, CheckpointError: the file is missing, cut off or no parameter file.
    """
    return split_params(load_arrays(path), path, for_inference)


def warn_of_normalised(arrays: Params, path: str) -> None:
    """Warn if a file has box parameters for normalised targets alone: those are for training, not for testing."""
    layers = [layer for layer in BBOX_LAYERS if 'arg:%s_weight' % layer in arrays]
    if layers and 'arg:%s_weight%s' % (layers[0], TEST_SUFFIX) not in arrays:
        logger.warning('%s has no %s_weight%s: the box layer is used as it is. If it was trained on normalised '
                       'targets, as the configuration says (TRAIN.BBOX_NORMALIZATION_PRECOMPUTED: true), and was not '
                       'un-normalised afterwards, all boxes will be wrong: too large and beside the objects',
                       path, layers[0], TEST_SUFFIX)


def split_params(arrays: Params, source: str, for_inference: bool = False) -> tuple[Params, Params]:
    """`arg:` and `aux:` arrays -> arg_params, aux_params; see `load_params`."""
    arg_params, aux_params = {}, {}
    for tagged, value in arrays.items():
        kind, _, name = tagged.partition(':')
        if kind not in ('arg', 'aux') or not name:
            remedy = ('It is the state of a training: take a file that ends in .params' if source.endswith('.states')
                      else 'Save them by mx.model.save_checkpoint; of GluonCV, rfcn import --mxnet takes a backbone')
            raise CheckpointError("%s: expected parameters called 'arg:<name>' or 'aux:<name>', found %r. %s"
                                  % (source, tagged, remedy))
        (arg_params if kind == 'arg' else aux_params)[name] = value
    for name in [n for n in arg_params if n.endswith(TEST_SUFFIX)]:
        value = arg_params.pop(name)
        if for_inference:
            arg_params[name[:-len(TEST_SUFFIX)]] = value
    return arg_params, aux_params


OTHER_CONFIGURATION = ('Does the configuration (symbol, NUM_CLASSES, CLASS_AGNOSTIC, ANCHOR_*, POOLED_SIZE) agree with '
                       'the one it was trained with?')


def check_params(symbol: mx.sym.Symbol, input_shapes: dict[str, tuple], arg_params: Params, aux_params: Params,
                 source: str, remedy: str = OTHER_CONFIGURATION) -> None:
    """Compare parameters with what a graph needs.

    Raises:
        CheckpointError: naming every parameter that is missing or of another shape. Parameters that the graph does not
            have (fc1000 of a classification network) are logged and ignored.
    """
    try:
        arg_shapes, _, aux_shapes = symbol.infer_shape(**input_shapes)
    except mx.base.MXNetError as error:     # of a graph from a file
        raise CheckpointError('%s: the graph does not fit together (%s)' % (source, error_line(error))) from None
    if arg_shapes is None:
        raise CheckpointError('%s: the graph does not fit together (the shapes of its parameters do not follow from '
                              'those of its inputs)' % source)
    needed = dict(zip(symbol.list_arguments() + symbol.list_auxiliary_states(), arg_shapes + aux_shapes))
    needed = {name: shape for name, shape in needed.items() if name not in input_shapes}
    given = {name: value.shape for name, value in list(arg_params.items()) + list(aux_params.items())}
    faults = ['%s is missing, shape %s expected' % (name, needed[name]) for name in sorted(set(needed) - set(given))]
    faults += ['%s has shape %s, %s expected' % (name, given[name], needed[name])
               for name in sorted(set(needed) & set(given)) if given[name] != needed[name]]
    if faults:
        raise CheckpointError('%s does not fit the network (%s): %s. %s'
                              % (source, counted(len(faults), 'parameter'), '; '.join(faults), remedy))
    extra = sorted(set(given) - set(needed))
    if extra:
        logger.info('%s: ignored %s that the network does not have: %s', source, counted(len(extra), 'parameter'),
                    ', '.join(extra))


def check_is_there(path: str, remedy: str = '') -> None:
    """Raise a FileNotFoundError, with the remedy and the parameter files beside it, where there is no such file; a
    CheckpointError where a folder, a pipe or a device is in its place.
    """
    try:
        found = is_there(path)
    except NoInput as error:
        raise CheckpointError('%s: expected a parameter file: %s' % (path, error)) from None
    if not found:
        others = ', '.join(sorted(other.name for other in Path(path).parent.glob('*.params')))
        raise FileNotFoundError('; '.join(filter(None, ('%s: no such parameter file' % path, remedy,
                                                        others and 'its folder has ' + others))))


def load_arrays(path: str) -> Params:
    """The named arrays of a file of mx.nd.save. Raises as `load_params`."""
    check_is_there(path)
    check_params_file(path)
    try:
        arrays = mx.nd.load(path)
    except mx.base.MXNetError as error:
        if is_lack_of_memory(error):
            raise
        raise CheckpointError('%s is damaged or is no MXNet parameter file (%s)' % (path, error_line(error))) from None
    faulty = not_finite(arrays)
    if faulty:
        raise CheckpointError('%s holds values that are not finite, in %s: a training that went wrong wrote it. Take '
                              'an earlier checkpoint' % (path, ', '.join(faulty)))
    return arrays


def not_finite(arrays: Params) -> list[str]:
    """Names of the arrays that hold an infinity or a NaN."""
    return sorted(name for name, value in arrays.items() if not np.isfinite(value.asnumpy()).all())
