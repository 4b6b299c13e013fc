"""Fine-tuning on other classes: what a checkpoint knows of a class is kept for the class of the same name.

The outputs of a layer that tells classes apart are grouped by class: of rfcn_cls k * k maps each, of class-specific
rfcn_bbox 4 * k * k. So the rows of its weight, reshaped to (classes, rows of a class, ...), can be moved class by
class.
"""
import re

from lib.dataset.annotations import BACKGROUND

CLASS_LAYERS = ('rfcn_cls', 'rfcn_cls_offset_t', 'rcnn_cls')
BOX_LAYERS = ('rfcn_bbox', 'rcnn_bbox')     # only where they are class-specific
# COCO's words for what VOC calls otherwise; words that differ by a blank alone are found without.
_SYNONYMS = {'airplane': 'aeroplane', 'motorcycle': 'motorbike', 'couch': 'sofa', 'tv': 'tvmonitor'}


def class_parameters(params, class_agnostic):
    """Names of the parameters of layers that tell classes apart."""
    layers = CLASS_LAYERS + (() if class_agnostic else BOX_LAYERS)
    return [layer + kind for layer in layers for kind in ('_weight', '_bias') if layer + kind in params]


def same_classes(old, new):
    """Class names of a checkpoint and of a configuration, without background -> dict of new name -> old name of the
    same class.
    """
    of_word = {_word(name): name for name in old}
    return {name: of_word[_word(name)] for name in new if _word(name) in of_word}


def _word(name):
    word = re.sub(r'[\s_-]', '', name.lower())
    return _SYNONYMS.get(word, word)


def move_rows(given, params, names, old, new):
    """Overwrite the rows of classes that a checkpoint has too, and those of the background.

    Args:
        given: name -> NDArray, of the checkpoint.
        params: name -> NDArray, of the new network, with first values; changed in place.
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
