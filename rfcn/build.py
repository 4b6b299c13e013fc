"""Makes data sets, loaders, networks, modules from a configuration. What lies deeper gets named numbers from here."""
import functools
import logging

import numpy as np

from lib.dataset import load_imdbs, roidb_of
from lib.dataset.box_rule import RELEASE
from lib.dataset.check.anchors import anchorless
from lib.dataset.published import published_classes
from lib.dataset.roidb import filter_roidb, flip_entry
from lib.errors import ConfigError
from lib.utils.image import resize_scale
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.for_test import load_for_test, with_classes_of
from rfcn.config.config import with_overrides
from rfcn.core.loader import ImageLoader
from rfcn.core.module import contexts
from rfcn.core.predictor import INT8_SIZES, SIZES, Predictor
from rfcn.core.target_loaders import AnchorLoader
from rfcn.core.workers import workers
from rfcn.precision import quantization
from rfcn.precision.bf16 import use_bf16, with_bf16_weights
from rfcn.symbols import make_symbol

logger = logging.getLogger(__name__)

TEST_INPUTS = ['data', 'im_info']


_opened = {}    # data sets that `with_classes` opened, kept for the first who asks for them: files are read once


def datasets(cfg, image_sets):
    """The data sets of 'a+b'. Classes: those of the configuration, else the data set's own."""
    kept = _opened.pop(_reading(cfg, image_sets), None)
    _opened.clear()
    if kept and (kept[0].data.classes == tuple(cfg.dataset.CLASSES) or not cfg.dataset.CLASSES):
        return kept
    return load_imdbs(cfg.dataset.dataset, image_sets, cfg.dataset.root_path, cfg.dataset.dataset_path,
                      **reading_options(cfg), **dataset_options(cfg))


def _reading(cfg, image_sets):
    """What the content of data sets depends on, but for the class names."""
    keys = (key for key in cfg.dataset if key not in ('CLASSES', 'NUM_CLASSES'))
    return (image_sets, cfg.RELEASE_RULES) + tuple((key, cfg.dataset[key]) for key in keys)


def training_roidb(cfg):
    """Entries of all training images, flipped copies included; without those that have no object if so configured.

    Raises:
        DatasetError: with counts, where no object is left to train on.
    """
    roidb = roidb_of(datasets(cfg, cfg.dataset.image_set), flip=cfg.TRAIN.FLIP)
    return filter_roidb(roidb, keep_empty=cfg.TRAIN.KEEP_EMPTY and not cfg.RELEASE_RULES)


def all_sets(cfg):
    """Names of all image sets that a configuration uses: those to train on first."""
    names = [name.strip() for name in cfg.dataset.image_set.split('+')]
    others = (cfg.dataset.test_image_set, cfg.dataset.val_image_set)
    return list(dict.fromkeys(names + [name for name in others if name]))


def reading_options(cfg):
    """Keywords of `lib.dataset.read_annotated`."""
    return dict(classes=cfg.dataset.CLASSES or None, sets=all_sets(cfg), origin=cfg.dataset.CSV_ORIGIN)


def dataset_options(cfg):
    """Keywords of a data set's class."""
    options = dict(on_unknown_class=cfg.dataset.on_unknown_class, on_bad_image=cfg.dataset.on_bad_image)
    if cfg.dataset.dataset == 'coco':       # whose evaluation has its own AP
        return dict(options, box_rule=RELEASE) if cfg.RELEASE_RULES else options
    if cfg.dataset.USE_07_METRIC != 'auto':
        options['use_07_metric'] = cfg.dataset.USE_07_METRIC
    return dict(options, min_box_side=1) if cfg.RELEASE_RULES else options


def feature_shape(symbol):
    """A function (height, width) of the input -> (H, W) of conv4, read off the graph."""
    scores = symbol.get_internals()['rpn_cls_score_output']

    @functools.lru_cache(maxsize=None)
    def shape(height, width):
        return scores.infer_shape(data=(1, 3, height, width))[1][0][2:]
    return shape


def image_settings(cfg, scales):
    """Keywords that every loader takes."""
    return dict(scales=scales, pixel_means=np.array(cfg.network.PIXEL_MEANS), stride=cfg.network.IMAGE_STRIDE,
                seed=cfg.seed, max_pixels=cfg.dataset.MAX_PIXELS)


def rpn_classes(symbol, num_anchors):
    """How many classes the RPN of a graph tells apart: 2, or those of the data."""
    return symbol.get_internals()['rpn_cls_score_output'].infer_shape(data=(1, 3, 64, 64))[1][0][1] // num_anchors


def shares(devices):
    """Keywords of a training loader: how a step is shared out to the devices of all workers."""
    return dict(devices=devices, rank=workers().rank, ranks=workers().count)


def check_anchors(cfg, roidb):
    """Raise a ConfigError where no anchor lies inside any image of a roidb: the RPN would learn nothing.

    Departure: the release fails at such an image.
    """
    sizes = np.unique([(entry['width'], entry['height']) for entry in roidb], axis=0)
    images = [np.round(size * resize_scale(tuple(size), *scale)) for size in sizes for scale in cfg.SCALES]
    scales, ratios = cfg.network.ANCHOR_SCALES, cfg.network.ANCHOR_RATIOS
    if anchorless(images, scales, ratios).all():
        raise ConfigError('network.ANCHOR_SCALES=%s network.ANCHOR_RATIOS=%s at SCALES=%s: none of these anchors lies '
                          'inside a training image, so that they can train nothing. rfcn check tells which would fit'
                          % tuple(str(list(value)).replace(' ', '') for value in (scales, ratios, cfg.SCALES)))


def anchor_loader(cfg, roidb, symbol, devices=1):
    """The loader of the end-to-end graph, or of the RPN graph, whose batches have targets and no gt_boxes.

    Args:
        devices: how many; each gets TRAIN.BATCH_IMAGES images a step.
    """
    train, network = cfg.TRAIN, cfg.network
    check_anchors(cfg, roidb)
    return AnchorLoader(
        roidb, train.BATCH_IMAGES, feature_shape=feature_shape(symbol), end2end='gt_boxes' in symbol.list_arguments(),
        tell_classes=rpn_classes(symbol, network.NUM_ANCHORS) > 2, max_gt_boxes=train.MAX_GT_BOXES,
        anchors=dict(base_size=network.RPN_FEAT_STRIDE, ratios=network.ANCHOR_RATIOS, scales=network.ANCHOR_SCALES),
        targets=dict(batch_size=train.RPN_BATCH_SIZE, fg_fraction=train.RPN_FG_FRACTION,
                     fg_thresh=train.RPN_POSITIVE_OVERLAP, bg_thresh=train.RPN_NEGATIVE_OVERLAP,
                     clobber_positives=train.RPN_CLOBBER_POSITIVES, bbox_weights=train.RPN_BBOX_WEIGHTS,
                     untouched_objects_match=cfg.RELEASE_RULES),
        shuffle=train.SHUFFLE, aspect_grouping=train.ASPECT_GROUPING, threads=train.WORKERS,
        shuffle_whole_batches=not cfg.RELEASE_RULES, on_bad_image=cfg.dataset.on_bad_image, **shares(devices),
        **image_settings(cfg, cfg.SCALES))


def test_scales(cfg):
    """The scales that detections of a test come from: those of TEST, or else the first that is trained on."""
    return cfg.TEST.SCALES or cfg.SCALES[:1]


def proposal_scale(cfg):
    """The scale at which proposals for alternating training are made: its own, or else that of the tests."""
    return (cfg.TEST.PROPOSAL_SCALE or test_scales(cfg))[0]


def test_loader(cfg, roidb, proposals=False, scale=None):
    """The loader for testing, at the first scale for testing or at another, a pair of numbers."""
    return ImageLoader(roidb, cfg.TEST.BATCH_IMAGES, proposals=proposals, threads=cfg.TRAIN.WORKERS,
                       on_bad_image=cfg.dataset.on_bad_image, **image_settings(cfg, [scale or test_scales(cfg)[0]]))


def view_loaders(cfg, roidb, proposals=False):
    """A loader for each view of the images, with the images in the same order.

    The views: at each scale for testing and, with TEST.FLIP, mirrored.
    """
    mirrored = [flip_entry(entry) for entry in roidb] if cfg.TEST.FLIP else None
    return [test_loader(cfg, entries, proposals, scale)
            for scale in test_scales(cfg) for entries in (roidb, mirrored) if entries is not None]


def input_shapes(cfg, size=(256, 256)):
    """Shapes of a test batch, enough to infer those of the parameters."""
    images = cfg.TEST.BATCH_IMAGES
    return {'data': (images, 3) + tuple(size), 'im_info': (images, 3)}


def bbox_normalisation(cfg):
    """Means and stds of the box targets, each (4 * num_reg_classes,)."""
    sets = 2 if cfg.CLASS_AGNOSTIC else cfg.dataset.NUM_CLASSES
    if not cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        return np.zeros(4 * sets), np.ones(4 * sets)
    return np.tile(cfg.TRAIN.BBOX_MEANS, sets), np.tile(cfg.TRAIN.BBOX_STDS, sets)


def unnormalised(cfg):
    """A function arg_params -> the box layers' parameters for testing."""
    means, stds = bbox_normalisation(cfg)
    return lambda arg_params: checkpoint.unnormalised_bbox(arg_params, means, stds, cfg.network.POOLED_SIZE ** 2)


def predictor(cfg, params_path):
    """The network for testing with a checkpoint's parameters.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
        ConfigError: `TEST.PRECISION` is int8 and the file is not that of an INT8 model, or it is not for GPUs.
    """
    int8 = cfg.TEST.PRECISION == 'int8'  # whose parameters are those for testing, under the plain names
    arg_params, aux_params = load_for_test(cfg, params_path, normalised=not int8)
    quantized = quantization.load_symbol(params_path) if int8 else None
    return predictor_of_params(cfg, arg_params, aux_params, params_path, quantized)


def predictor_of_params(cfg, arg_params, aux_params, source, quantized=None):
    """The network for testing with given parameters.

    Args:
        source: names the parameters in errors.
        quantized: the INT8 graph of the same network, where it shall compute in INT8.
    """
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    checkpoint.check_params(symbol, input_shapes(cfg), arg_params, aux_params, source)
    if quantized is not None:
        symbol = quantization.with_settings(quantized, symbol)
        checkpoint.check_params(symbol, input_shapes(cfg), arg_params, aux_params, 'the INT8 graph beside ' + source)
    return _predictor(cfg, symbol, TEST_INPUTS, arg_params, aux_params)


def predictor_of_part(cfg, symbol, inputs, arg_params, aux_params):
    """The RPN alone, or R-FCN on given RoIs, for testing.

    Raises:
        ConfigError: `TEST.PRECISION` is int8: only whole networks have INT8 models.
    """
    if cfg.TEST.PRECISION == 'int8':
        raise ConfigError('TEST.PRECISION: int8 is for a whole network (rfcn test), and this is a part of one; '
                          'write fp32 or bf16')
    return _predictor(cfg, symbol, inputs, arg_params, aux_params)


def _predictor(cfg, symbol, inputs, arg_params, aux_params):
    """A test graph with its parameters, on the devices and in the precision of the configuration."""
    check_device(cfg, 'TEST')
    if use_bf16(cfg.TEST.PRECISION, 'TEST.PRECISION'):
        symbol, arg_params, aux_params = with_bf16_weights(symbol, arg_params, aux_params)
    sizes = INT8_SIZES if cfg.TEST.PRECISION == 'int8' else SIZES
    return Predictor(symbol, inputs, contexts(cfg.gpus), arg_params, aux_params, sizes)


def check_device(cfg, phase):
    """Raise a ConfigError where the precision of 'TRAIN' or 'TEST' is one that GPUs do not have here."""
    if cfg[phase].PRECISION != 'fp32' and cfg.gpus:
        raise ConfigError("%s.PRECISION: %s runs on the CPU alone; write fp32, or gpus: ''"
                          % (phase, cfg[phase].PRECISION))


def with_classes(cfg, params=None):
    """The configuration with the class names filled in where it does not give them: from a checkpoint that knows its
    classes, or else from the data set; those of VOC and COCO are known without it.

    Args:
        params: path of the checkpoint that is used.
    Raises:
        ConfigError: no names in the configuration and nothing to take them from.
    """
    if params:
        cfg = with_classes_of(cfg, params)
    if cfg.dataset.CLASSES:
        return cfg
    try:
        imdbs = datasets(cfg, cfg.dataset.image_set)
    except FileNotFoundError as error:
        names = published_classes(cfg.dataset.dataset, cfg.dataset.image_set)
        if len(names) + 1 == cfg.dataset.NUM_CLASSES:
            return with_overrides(cfg, {'dataset.CLASSES': list(names)})
        raise ConfigError('%s. The class names come from the data set unless dataset.CLASSES gives them: correct '
                          'dataset.*, or, with a trained network, use the config.yaml that training wrote'
                          % error) from None
    _opened[_reading(cfg, cfg.dataset.image_set)] = imdbs
    return with_overrides(cfg, {'dataset.CLASSES': list(imdbs[0].classes[1:])})
