"""Parameters of a checkpoint for testing: with the settings that they were trained with, and the classes by name."""
import logging

from lib.errors import CheckpointError
from rfcn.checkpoints.checkpoint import load_arrays, split_params, warn_of_normalised
from rfcn.checkpoints.class_rows import class_parameters, move_rows, same_classes
from rfcn.checkpoints.identity import CLASSES, check_for_test, class_names, is_allowed
from rfcn.checkpoints.states import identity_of_params
from rfcn.config.config import with_overrides

logger = logging.getLogger(__name__)

CLASS_RPN = 'class_rpn'     # ends the name of a network whose RPN tells the classes


def load_for_test(cfg, path, *, classes=True, normalised=True):
    """Read a checkpoint that the configuration's network is to be tested with.

    Classes that the configuration names in another order are mapped by name: the network then answers in the
    configuration's order.

    Args:
        classes: whether the part that is tested tells classes apart; an RPN does not.
        normalised: whether the file may hold box parameters for normalised targets alone, which is warned of.
    Returns:
        arg_params, aux_params: name -> NDArray, un-normalised box parameters under their plain names.
    Raises:
        FileNotFoundError, CheckpointError: missing or damaged, of another run than its states, or trained with
            something else than the configuration says.
    """
    arrays = load_arrays(path)
    identity = identity_of_params(path, split_params(arrays, path))
    arg_params, aux_params = split_params(arrays, path, for_test=True)
    if identity is None:
        logger.info('%s: nothing beside it says what it was trained with; it is taken to be what the configuration '
                    'says', path)
    else:
        check_for_test(identity, cfg, path)
    if normalised and cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        warn_of_normalised(arrays, path)
    return _by_name(arg_params, class_names(identity), cfg, path) if classes else arg_params, aux_params


def with_classes_of(cfg, path):
    """The configuration with a checkpoint's class names where it has none, if the checkpoint knows them."""
    names = () if cfg.dataset.CLASSES else class_names(identity_of_params(path))
    return with_overrides(cfg, {CLASSES: list(names)}) if names else cfg


def _by_name(arg_params, old, cfg, path):
    """The parameters with the rows of their classes in the order of the configuration."""
    new = cfg.dataset.CLASSES
    if not old or not new or old == new:
        return arg_params
    if is_allowed(CLASSES, cfg):
        logger.warning('%s: its classes %s are called %s, as ALLOW_CHANGED allows', path, ', '.join(old),
                       ', '.join(new))
        return arg_params
    known = same_classes(old, new)
    if not len(old) == len(new) == len(set(known.values())) or cfg.symbol.endswith(CLASS_RPN):
        raise CheckpointError(
            '%s tells other classes apart: it knows %s; the configuration has %s. Leave dataset.CLASSES out to take '
            'those of the checkpoint, or train on the new ones from it (network.pretrained). Where they are the same '
            'under other names, in this order: ALLOW_CHANGED=[%s]' % (path, ', '.join(old), ', '.join(new), CLASSES))
    logger.info('%s: its classes, %s, are put in the order of the configuration by their names: %s', path,
                ', '.join(old), ', '.join(new))
    moved = {name: arg_params[name].copy() for name in class_parameters(arg_params, cfg.CLASS_AGNOSTIC)}
    move_rows(arg_params, moved, list(moved), old, new)
    return dict(arg_params, **moved)
