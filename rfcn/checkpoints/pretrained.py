"""The parameters that a training starts from: those of another network, and initial values for all others.

The other network is a trunk, or a whole detector, also one of other classes.

What a detector knows of a class is kept for the class of the same name. The outputs of a layer that tells classes apart
are grouped by class: of rfcn_cls k * k maps each, of class-specific rfcn_bbox 4 * k * k. So the rows of its weight,
reshaped to (classes, rows of a class, ...), can be moved class by class.
"""
from __future__ import annotations

import logging
import re
from typing import Sequence

import mxnet as mx

from lib.dataset.annotations import BACKGROUND
from lib.errors import CheckpointError
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.checkpoint import Params
from rfcn.checkpoints.identity import Identity, check_fine_tuning, classes_of
from rfcn.checkpoints.states import identity_of_params
from rfcn.config.config import Config

CLASS_LAYERS = ('rfcn_cls', 'rfcn_cls_offset_t', 'rcnn_cls')
# COCO's words for what VOC calls otherwise; words that differ by a blank alone are found without.
_SYNONYMS = {'airplane': 'aeroplane', 'motorcycle': 'motorbike', 'couch': 'sofa', 'tv': 'tvmonitor'}
# He et al. 2015, for layers that a ReLU follows. Biases, gamma and beta get MXNet's own initial values by the ends of
# their names.
_HE = mx.init.Xavier(rnd_type='gaussian', factor_type='in', magnitude=2)
# Heads: Gaussian of 0.01 (Faster R-CNN, section 3.1.3; the release's init_weight). Offsets of deformable layers start
# at zero, so that they begin as plain layers.
_ON_PRETRAINED = mx.init.Mixed(['.*_offset(_t)?_(weight|bias)', '(rpn_|rfcn_|rcnn_|conv_new_1).*_weight', '.*'],
                               [mx.init.Zero(), mx.init.Normal(0.01), _HE])
# On a narrow trunk 0.01 would make the heads' hidden layers nearly silent (0.125 is He's value for 128 channels, 0.03
# for the release's 2048), so without a pretrained trunk these start like the trunk itself.
_FROM_SCRATCH = mx.init.Mixed(['(rpn_conv_3x3|conv_new_1)_weight', '.*'], [_HE, _ON_PRETRAINED])

logger = logging.getLogger(__name__)


def pretrained_path(cfg: Config) -> str:
    """The path of the parameter file that `network.pretrained` names. Raises a FileNotFoundError where there is none.
    """
    path = checkpoint.start_path(cfg.network.pretrained, cfg.network.pretrained_epoch)
    checkpoint.check_is_there(path, 'network.pretrained names it. rfcn import makes such files (data/README.md)')
    return path


def load_start(cfg: Config, path: str) -> tuple[Params, Params, Identity | None]:
    """arg_params, aux_params and identity, None where it is not known, of a checkpoint that a training starts from.

    Raises:
        CheckpointError: it cannot be read, or was trained with other anchors, means, ... than the configuration's.
    """
    params = checkpoint.load_params(path)
    identity = identity_of_params(path, params)
    if identity:
        check_fine_tuning(identity, cfg, path)
    return (*params, identity)


def start_params(cfg: Config, symbol: mx.sym.Symbol, input_shapes: dict[str, tuple]) -> tuple[Params, Params]:
    """Parameters of a graph: from `network.pretrained` where it has them in the right shape, else initial values.

    Where the checkpoint is a detector of other classes, what it knows of a class is kept for the class of the same
    name; the other classes start anew.

    Returns:
        arg_params, aux_params: name -> NDArray.
    Raises:
        FileNotFoundError, CheckpointError: see `pretrained_path`, `load_start`, `check_number`.
    """
    if not cfg.network.pretrained:
        arg_params, aux_params, fresh = init_params(symbol, input_shapes, seed=cfg.seed)
        logger.info('all %d parameters start from random values', len(fresh))
        return arg_params, aux_params
    path = pretrained_path(cfg)
    given, given_aux, identity = load_start(cfg, path)
    new, old = cfg.dataset.CLASSES, cfg.network.PRETRAINED_CLASSES or classes_of(identity)
    heads = [name for name in class_parameters(given, cfg.CLASS_AGNOSTIC) if name in symbol.list_arguments()]
    moved = heads if heads and old and old != new else []
    check_number(path, given, moved, old)
    kept = {name: value for name, value in given.items() if name not in moved}
    arg_params, aux_params, fresh = init_params(symbol, input_shapes, kept, given_aux, seed=cfg.seed)
    unfit = move_rows(given, arg_params, moved, old, new)
    report(path, given, arg_params, [name for name in fresh if name not in moved or name in unfit])
    if moved:
        report_classes(path, moved, old, new)
    elif heads and not old:
        taken = [name for name in heads if name not in fresh]
        logger.warning('%s: the classes that %s tell apart are not known; %s', path, ', '.join(taken or heads),
                       'they are taken in their order. If they are others, set network.PRETRAINED_CLASSES' if taken else
                       'set network.PRETRAINED_CLASSES to keep what is known of those that stay')
    return arg_params, aux_params


def check_number(path: str, given: Params, names: Sequence[str], old: Sequence[str]) -> None:
    """Raise a CheckpointError unless the rows of layers that tell classes apart can be those of so many classes."""
    for name in names:
        if len(given[name]) % (len(old) + 1):
            raise CheckpointError('%s: %s has %d rows, which %d classes (%s) and the background cannot share evenly. '
                                  'Correct network.PRETRAINED_CLASSES' % (path, name, len(given[name]), len(old),
                                                                           ', '.join(old)))


def report(path: str, given: Params, arg_params: Params, fresh: Sequence[str]) -> None:
    """Log which parameters the checkpoint has in another shape, and which it does not have."""
    unfit = ['%s (%s there, %s needed)' % (name, given[name].shape, arg_params[name].shape) for name in fresh
             if name in given]
    missing = [name for name in fresh if name not in given]
    if unfit:
        logger.warning('%s: %d parameters have another shape and start from random values: %s', path, len(unfit),
                       ', '.join(unfit))
    if missing:
        logger.info('%s: %d parameters are not in it and start from random values: %s', path, len(missing),
                    ', '.join(missing))


def report_classes(path: str, moved: Sequence[str], old: Sequence[str], new: Sequence[str]) -> None:
    """Log which classes are known and which start anew."""
    known = same_classes(old, new)
    kept = ', '.join(name if name == other else '%s (%s)' % (name, other) for name, other in known.items())
    fresh = ', '.join(name for name in new if name not in known)
    logger.info('%s: of %d classes %d are kept in %s: %s; these start from random values: %s', path, len(new),
                len(known), ', '.join(moved), kept or 'none', fresh or 'none')


def class_parameters(params: Params, class_agnostic: bool) -> list[str]:
    """Names of the parameters of layers that tell classes apart."""
    layers = CLASS_LAYERS + (() if class_agnostic else checkpoint.BBOX_LAYERS)
    return [layer + kind for layer in layers for kind in ('_weight', '_bias') if layer + kind in params]


def same_classes(old: Sequence[str], new: Sequence[str]) -> dict[str, str]:
    """Class names of a checkpoint and of a configuration, without background -> dict of new name -> old name of the
    same class.
    """
    of_word = {_word(name): name for name in old}
    return {name: of_word[_word(name)] for name in new if _word(name) in of_word}


def _word(name):
    word = re.sub(r'[\s_-]', '', name.lower())
    return _SYNONYMS.get(word, word)


def move_rows(given: Params, params: Params, names: Sequence[str], old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Overwrite the rows of classes that a checkpoint has too, and those of the background.

    Args:
        given: name -> NDArray, of the checkpoint.
        params: name -> NDArray, of the new network, with initial values; changed in place.
        names: of the parameters to treat, see `class_parameters`.
        old, new: class names without background.
    Returns:
        list of str, the parameters whose shapes do not allow it (another k, or another number of channels).
    """
    pairs = dict(same_classes(old, new), **{BACKGROUND: BACKGROUND})
    old_number, new_number = ({name: i for i, name in enumerate([BACKGROUND] + list(names))} for names in (old, new))
    unfit = []
    for name in names:
        source, target = given[name].asnumpy(), params[name].asnumpy()
        rows = len(target) // len(new_number)
        if len(source) != rows * len(old_number) or source.shape[1:] != target.shape[1:]:
            unfit.append(name)
            continue
        # [classes, rows, ...]
        source, target = (array.reshape((-1, rows) + array.shape[1:]) for array in (source, target))
        for new_name, old_name in pairs.items():
            target[new_number[new_name]] = source[old_number[old_name]]
        params[name][:] = target.reshape(params[name].shape)
    return unfit


def init_params(symbol: mx.sym.Symbol, input_shapes: dict[str, tuple], arg_params: Params | None = None,
                aux_params: Params | None = None, seed: int = 0) -> tuple[Params, Params, list[str]]:
    """All parameters of a graph: those given where name and shape fit, else initial values.

    Args:
        input_shapes: name -> shape of every input, labels included.
        arg_params, aux_params: name -> NDArray, such as a pretrained trunk's; None for training from scratch.
        seed: of the initial values.
    Returns:
        arg_params, aux_params (name -> NDArray, complete), and the names that got initial values.
    """
    mx.random.seed(seed)
    initializer = _ON_PRETRAINED if arg_params else _FROM_SCRATCH
    arg_shapes, _, aux_shapes = symbol.infer_shape(**input_shapes)
    args = {name: shape for name, shape in zip(symbol.list_arguments(), arg_shapes) if name not in input_shapes}
    aux = dict(zip(symbol.list_auxiliary_states(), aux_shapes))
    arg_params, fresh_args = _complete(args, arg_params or {},
                                       lambda name, shape: _initial_value(initializer, name, shape))
    aux_params, fresh_aux = _complete(aux, aux_params or {}, _initial_statistic)
    return arg_params, aux_params, fresh_args + fresh_aux


def _complete(shapes, given, initial_value):
    """The given arrays of the right shapes, initial values for the rest; and the names of the rest."""
    fresh = [name for name, shape in shapes.items() if name not in given or given[name].shape != shape]
    values = {name: given[name].copy() for name in shapes if name not in fresh}
    values.update((name, initial_value(name, shapes[name])) for name in fresh)
    return values, fresh


def _initial_value(initializer, name, shape):
    value = mx.nd.zeros(shape)
    initializer(mx.init.InitDesc(name), value)
    return value


def _initial_statistic(name, shape):
    return mx.nd.ones(shape) if name.endswith('_moving_var') else mx.nd.zeros(shape)
