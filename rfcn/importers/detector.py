"""Complete detectors of the authors: their parameters by this project's names, and the configuration that they need.

    Caffe   YuwenXiong/py-R-FCN, with an RPN, and daijifeng001/R-FCN (Matlab), which takes given RoIs
    MXNet   msracver/Deformable-ConvNets, plain and deformable

What differs between the projects is small. Score maps of one output stand together, row of bins by row; anchors of one
ratio stand together; background scores of all anchors come before foreground ones; a box set for the background comes
before that for objects: Caffe and MXNet alike. Caffe's models see blue, green, red and hold BatchNorm's sums with a
factor; their snapshots have the means and stds of the box targets taken into `rfcn_bbox`, where the MXNet release keeps
a second pair of arrays, `rfcn_bbox_weight_test`.
"""
import re
from typing import Dict, NamedTuple, Tuple

import numpy as np

from lib.dataset import COCO_CLASSES
from lib.dataset.voc import VOC_CLASSES
from lib.errors import CheckpointError
from rfcn.checkpoints.checkpoint import TEST_SUFFIX
from rfcn.importers.trunk import RELEASE_MEANS, find_trunk, fold_trunk, pixel_means

HEADS = ('rpn_conv_3x3', 'rpn_cls_score', 'rpn_bbox_pred', 'conv_new_1', 'rfcn_cls', 'rfcn_bbox')
RPN = HEADS[:3]
PY_RFCN_MEANS = (122.7717, 115.9465, 102.9801)      # red, green, blue: lib/fast_rcnn/config.py, PIXEL_MEANS
BOX_STDS = (0.1, 0.1, 0.2, 0.2)                     # both projects' BBOX_NORMALIZE_STDS; the means are 0
ANCHOR_SCALES = {9: (8, 16, 32), 12: (4, 8, 16, 32)}    # by the anchors per cell, three ratios: VOC's models, COCO's
_DEFORMABLE_PARTS = re.compile(r'res5\w_branch2b_offset_|rfcn_(cls|bbox)_offset_t_')

KNOWN_CLASSES = {len(names) + 1: names for names in (VOC_CLASSES, COCO_CLASSES)}


class ImportedDetector(NamedTuple):
    """A detector by this project's names."""
    arg_params: Dict[str, np.ndarray]       # float32; of the box layer the pair for testing as well
    aux_params: Dict[str, np.ndarray]
    settings: Dict[str, object]             # configuration key -> value, what the parameters need
    has_rpn: bool                           # False where the file holds R-FCN alone, to be used on given RoIs


def is_detector(params) -> bool:
    """Whether named arrays are those of an R-FCN and not of a classifier."""
    return 'rfcn_cls_weight' in params and 'rfcn_bbox_weight' in params


def import_detector(params, source_input, path: str, classes: Tuple[str, ...] = ()) -> ImportedDetector:
    """A detector from the named arrays of a file.

    Args:
        params: name -> array, by the release's names.
        source_input: `rfcn.importers.trunk.Input`: the order of channels.
        path: of the file, for messages.
        classes: names without background, where they are not VOC's or COCO's.
    Raises:
        CheckpointError: a layer is missing or of a shape that fits nothing.
    """
    deformable = {name: value for name, value in params.items() if _DEFORMABLE_PARTS.match(name)}
    _, depth, trunk, _ = find_trunk({name: value for name, value in params.items() if name not in deformable}, path)
    has_rpn = RPN[0] + '_weight' in params
    means = PY_RFCN_MEANS if source_input.order == 'BGR' and has_rpn else RELEASE_MEANS     # Matlab: a mean image
    arg_params, aux_params = fold_trunk(trunk, source_input._replace(means=means), means)
    for name in [head + part for head in (HEADS if has_rpn else HEADS[3:]) for part in ('_weight', '_bias')]:
        if name not in params:
            raise CheckpointError('%s: %s is missing, which every R-FCN has' % (path, name))
        arg_params[name] = np.asarray(params[name], dtype=np.float32)
    arg_params.update({name: np.asarray(value, dtype=np.float32) for name, value in deformable.items()})
    number, settings = _facts_of_heads(arg_params, path, has_rpn, len(classes) + 1 if classes else None)
    _add_box_layer(arg_params, params, settings['network.POOLED_SIZE'] ** 2)
    settings.update(_test_settings(source_input, number))
    settings.update({'symbol': 'resnet_v1_%d_rfcn%s' % (depth, '_dcn' if deformable else ''),
                     'network.PIXEL_MEANS': pixel_means(means),
                     'dataset.CLASSES': list(_class_names(number, classes, path))})
    return ImportedDetector(arg_params, aux_params, settings, has_rpn)


def _add_box_layer(arg_params, params, bins_squared):
    """Both pairs of a checkpoint: `rfcn_bbox_*` for normalised targets, for training; `rfcn_bbox_*_test` for testing.

    A file with one pair holds that for testing: Caffe's snapshots do.
    """
    for name in ('rfcn_bbox_weight', 'rfcn_bbox_bias'):
        value = arg_params[name]
        if name + TEST_SUFFIX in params:
            arg_params[name + TEST_SUFFIX] = np.asarray(params[name + TEST_SUFFIX], dtype=np.float32)
            continue
        stds = np.tile(np.repeat(np.float32(BOX_STDS), bins_squared), len(value) // (4 * bins_squared))
        arg_params[name + TEST_SUFFIX] = value
        arg_params[name] = value / stds.reshape((-1,) + (1,) * (value.ndim - 1))


def _facts_of_heads(arg_params, path, has_rpn, given_number):
    """The number of classes, and configuration key -> value, as far as the shapes of the layers tell.

    Args:
        given_number: of the classes that the user names, background included; None where none are named.
    """
    cls, bbox = len(arg_params['rfcn_cls_bias']), len(arg_params['rfcn_bbox_bias'])
    # A box set per class hides k, unless the number of classes is known: 7 in all published models.
    class_agnostic = bbox != 4 * cls
    bins_squared = bbox // 8 if class_agnostic else 49
    if not class_agnostic and given_number and cls % given_number == 0:
        bins_squared = cls // given_number
    bins = int(round(bins_squared ** 0.5))
    if bins < 1 or bins * bins != bins_squared or (class_agnostic and bbox % 8) or cls % bins_squared:
        raise CheckpointError('%s: rfcn_cls has %d maps and rfcn_bbox %d: expected k * k maps per class and 8 * k * k '
                              'for boxes, or 49 maps per class and four times as many for boxes' % (path, cls, bbox))
    settings = {'network.POOLED_SIZE': bins, 'CLASS_AGNOSTIC': class_agnostic,
                'network.CONV_NEW_CHANNELS': len(arg_params['conv_new_1_bias'])}
    if has_rpn:
        scores, deltas = len(arg_params['rpn_cls_score_bias']), len(arg_params['rpn_bbox_pred_bias'])
        if 2 * scores != deltas or scores // 2 not in ANCHOR_SCALES:
            raise CheckpointError('%s: an RPN of %d scores and %d deltas per cell; expected 18 and 36, or 24 and '
                                  '48: the published models have 9 or 12 anchors' % (path, scores, deltas))
        settings['network.ANCHOR_SCALES'] = list(ANCHOR_SCALES[scores // 2])
        settings['network.RPN_CHANNELS'] = len(arg_params['rpn_conv_3x3_bias'])
    return cls // bins_squared, settings


def _class_names(number, given, path):
    if given and len(given) + 1 != number:
        raise CheckpointError('%s tells %d classes apart besides the background, and %d names are given'
                              % (path, number - 1, len(given)))
    if not given and number not in KNOWN_CLASSES:
        raise CheckpointError("%s tells %d classes apart besides the background, neither VOC's 20 nor COCO's 80: give "
                              'their names with --classes' % (path, number - 1))
    return given or KNOWN_CLASSES[number]


def _test_settings(source_input, num_classes):
    """How the projects test: lib/fast_rcnn/config.py of py-R-FCN, experiments/rfcn/cfgs of the MXNet release."""
    settings = {'TEST.CXX_PROPOSAL': False, 'TEST.RPN_MIN_SIZE': 16 if source_input.order == 'BGR' else 0,
                'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED': True, 'TRAIN.BBOX_STDS': list(BOX_STDS)}
    if num_classes == len(COCO_CLASSES) + 1:
        settings.update({'dataset.dataset': 'coco', 'dataset.dataset_path': 'data/coco',
                         'dataset.image_set': 'train2014', 'dataset.test_image_set': 'minival2014'})
    return settings
