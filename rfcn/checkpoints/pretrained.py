"""The parameters that training starts from: of a trunk, or of a whole detector, also one of other classes."""
import logging

from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.class_rows import class_parameters, move_rows, same_classes
from rfcn.checkpoints.identity import check_fine_tuning, class_names
from rfcn.checkpoints.states import identity_of_params
from rfcn.symbols.initialize import init_params

logger = logging.getLogger(__name__)


def start_params(cfg, symbol, input_shapes):
    """Parameters of a graph from `network.pretrained`, where it has them in the right shape, and first values else.

    Where the checkpoint is a detector of other classes, what it knows of a class is kept for the class of the same
    name; the other classes start anew.

    Returns:
        arg_params, aux_params: name -> NDArray.
    """
    if not cfg.network.pretrained:
        arg_params, aux_params, fresh = init_params(symbol, input_shapes, seed=cfg.seed)
        logger.info('all %d parameters start from random values', len(fresh))
        return arg_params, aux_params
    path = checkpoint.params_path(cfg.network.pretrained, cfg.network.pretrained_epoch)
    given, given_aux = checkpoint.load_params(path)
    identity = identity_of_params(path, (given, given_aux))
    if identity:
        check_fine_tuning(identity, cfg, path)
    new, old = cfg.dataset.CLASSES, cfg.network.PRETRAINED_CLASSES or class_names(identity)
    heads = [name for name in class_parameters(given, cfg.CLASS_AGNOSTIC) if name in symbol.list_arguments()]
    moved = heads if heads and old and old != new else []
    kept = {name: value for name, value in given.items() if name not in moved}
    arg_params, aux_params, fresh = init_params(symbol, input_shapes, kept, given_aux, seed=cfg.seed)
    unfit = move_rows(given, arg_params, moved, old, new)
    report(path, given, arg_params, [name for name in fresh if name not in moved or name in unfit])
    if moved:
        report_classes(path, moved, old, new)
    elif set(heads) - set(fresh) and not old:
        logger.warning('%s: the classes that %s tell apart are not known; they are taken in their order. If they are '
                       'others, set network.PRETRAINED_CLASSES', path,
                       ', '.join(name for name in heads if name not in fresh))
    return arg_params, aux_params


def report(path, given, arg_params, fresh):
    """Log what the checkpoint did not give, apart for what it lacks and what it has in another shape."""
    unfit = ['%s (%s there, %s needed)' % (name, given[name].shape, arg_params[name].shape) for name in fresh
             if name in given]
    missing = [name for name in fresh if name not in given]
    if unfit:
        logger.warning('%s: %d parameters have another shape and start from random values: %s', path, len(unfit),
                       ', '.join(unfit))
    if missing:
        logger.info('%s: %d parameters are not in it and start from random values: %s', path, len(missing),
                    ', '.join(missing))


def report_classes(path, moved, old, new):
    """Log which classes are known and which start anew."""
    known = same_classes(old, new)
    kept = ', '.join(name if name == other else '%s (%s)' % (name, other) for name, other in known.items())
    fresh = ', '.join(name for name in new if name not in known)
    logger.info('%s: of %d classes %d are kept in %s: %s; these start from random values: %s', path, len(new),
                len(known), ', '.join(moved), kept or 'none', fresh or 'none')
