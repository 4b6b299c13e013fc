"""The networks of a configuration for inference: a test graph with the parameters of a checkpoint, on its devices; and
what the configuration says of how detections are chosen from its outputs.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, Sequence

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.errors import CheckpointError, ConfigError
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.checkpoint import Params, load_arrays, split_params, warn_of_normalised
from rfcn.checkpoints.identity import CLASSES, check_for_inference, classes_of, is_allowed
from rfcn.checkpoints.pretrained import class_parameters, move_rows, same_classes
from rfcn.checkpoints.states import identity_of_params
from rfcn.config.config import Config
from rfcn.core.detect import INT8_SIZES, SIZES, Predictor
from rfcn.core.loader import Batch
from rfcn.core.module import contexts
from rfcn.precision import quantization
from rfcn.precision.bf16 import use_bf16, with_bf16_weights
from rfcn.precision.cpu import check_device
from rfcn.symbols import make_symbol

logger = logging.getLogger(__name__)

INPUTS = ['data', 'im_info']
CLASS_RPN = 'class_rpn'     # ends the name of a network whose RPN tells the classes


def predictor(cfg: Config, params_path: str) -> Predictor:
    """The network for inference with a checkpoint's parameters.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
        ConfigError: `TEST.PRECISION` is int8 and the file is not that of an INT8 model, or it is not for GPUs.
    """
    int8 = cfg.TEST.PRECISION == 'int8'  # whose parameters are un-normalised, under the plain names
    arg_params, aux_params = load_for_inference(cfg, params_path, normalised=not int8)
    quantized = quantization.load_symbol(params_path) if int8 else None
    return predictor_of_params(cfg, arg_params, aux_params, params_path, quantized)


def predictor_of_params(cfg: Config, arg_params: Params, aux_params: Params, source: str,
                        quantized: mx.sym.Symbol | None = None) -> Predictor:
    """The network for inference with given parameters.

    Args:
        source: names the parameters in errors.
        quantized: the INT8 graph of the same network, where it shall compute in INT8.
    """
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    checkpoint.check_params(symbol, input_shapes(cfg), arg_params, aux_params, source)
    if quantized is not None:
        symbol = quantization.with_settings(quantized, symbol)
        checkpoint.check_params(symbol, input_shapes(cfg), arg_params, aux_params, 'the INT8 graph beside ' + source)
    return _predictor(cfg, INPUTS, symbol, arg_params, aux_params)


def load_network(cfg: Config, params: str) -> tuple[mx.sym.Symbol, Params, Params]:
    """The test graph and the parameters of a checkpoint: symbol, arg_params, aux_params.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
    """
    return _loaded(cfg, make_symbol(cfg).get_symbol(is_train=False), input_shapes(cfg), params)


def _loaded(cfg, symbol, shapes, params, **options):
    """A graph and the parameters of a checkpoint, which fit it. `options`: of `load_for_inference`."""
    arg_params, aux_params = load_for_inference(cfg, params, **options)
    checkpoint.check_params(symbol, shapes, arg_params, aux_params, params)
    return symbol, arg_params, aux_params


def rpn_predictor(cfg: Config, params: str) -> Predictor:
    """The RPN for inference with the parameters of a checkpoint: of an RPN, or of a whole network.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
    """
    check_part(cfg)
    symbol = make_symbol(cfg).get_symbol_rpn(is_train=False)
    return _predictor(cfg, INPUTS, *_loaded(cfg, symbol, input_shapes(cfg), params, classes=False, normalised=False))


def rfcn_predictor(cfg: Config, params: str) -> GivenRoisPredictor:
    """R-FCN without its RPN, for inference with the parameters of a checkpoint.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
    """
    check_part(cfg)
    symbol = make_symbol(cfg).get_symbol_rfcn(is_train=False)
    shapes = {'data': input_shapes(cfg)['data'], 'rois': (cfg.TEST.BATCH_IMAGES, 1, 5)}
    return GivenRoisPredictor(_predictor(cfg, ['data', 'rois'], *_loaded(cfg, symbol, shapes, params)))


class GivenRoisPredictor:
    """A `Predictor` of the R-FCN graph with the outputs of the end-to-end one: the RoIs are among them.

    Args:
        predictor: of a test graph with inputs data and rois.
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor

    devices = property(lambda self: self.predictor.devices)

    def predict_each(self, batches: list[Batch]) -> list[dict[str, np.ndarray]]:
        """See `Predictor.predict_each`; each batch has data, im_info and rois."""
        plain = [Batch(dict(data=batch.data[0], rois=batch.data[2])) for batch in batches]
        return [dict(outputs, rois=batch.data[2].asnumpy())
                for outputs, batch in zip(self.predictor.predict_each(plain), batches)]


def check_part(cfg: Config) -> None:
    """Raise a ConfigError if `TEST.PRECISION` is int8: only whole networks have INT8 models."""
    if cfg.TEST.PRECISION == 'int8':
        raise ConfigError('TEST.PRECISION: int8 is for a whole network (rfcn test), and this is a part of one; '
                          'write fp32 or bf16')


def _predictor(cfg, inputs, symbol, arg_params, aux_params):
    """A test graph with its parameters, on the devices and in the precision of the configuration."""
    check_device(cfg, 'TEST')
    if use_bf16(cfg.TEST.PRECISION, 'TEST.PRECISION'):
        symbol, arg_params, aux_params = with_bf16_weights(symbol, arg_params, aux_params)
    sizes = INT8_SIZES if cfg.TEST.PRECISION == 'int8' else SIZES
    return Predictor(symbol, inputs, contexts(cfg.gpus), arg_params, aux_params, sizes)


def load_for_inference(cfg: Config, path: str, *, classes: bool = True,
                       normalised: bool = True) -> tuple[Params, Params]:
    """Read a checkpoint that the configuration's network is to be tested with.

    Classes that the configuration names in another order are mapped by name: the network then answers in the
    configuration's order.

    Args:
        classes: whether the part that is tested distinguishes classes; an RPN does not.
        normalised: warn if the file holds box parameters for normalised targets alone.
    Returns:
        arg_params, aux_params: name -> NDArray, un-normalised box parameters under their plain names.
    Raises:
        FileNotFoundError, CheckpointError: missing or damaged, of another run than its states, or trained with
            something else than the configuration says.
    """
    arrays = load_arrays(path)
    identity = identity_of_params(path, split_params(arrays, path))
    arg_params, aux_params = split_params(arrays, path, for_inference=True)
    if identity is None:
        logger.info('%s: nothing beside it says what it was trained with; it is taken to be what the configuration '
                    'says', path)
    else:
        check_for_inference(identity, cfg, path)
    if normalised and cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        warn_of_normalised(arrays, path)
    return in_order_of_classes(arg_params, classes_of(identity), cfg, path) if classes else arg_params, aux_params


def in_order_of_classes(arg_params: Params, old: Sequence[str], cfg: Config, path: str) -> Params:
    """The parameters with the rows of their classes in the order of the configuration.

    Args:
        old: classes of the checkpoint at `path`, () where they are not known.
    Raises:
        CheckpointError: the configuration has other classes.
    """
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


def input_shapes(cfg: Config, size: Sequence[int] = (256, 256)) -> dict[str, tuple]:
    """Shapes of a test batch, enough to infer those of the parameters."""
    images = cfg.TEST.BATCH_IMAGES
    return {'data': (images, 3) + tuple(size), 'im_info': (images, 3)}


def nms_settings(cfg: Config) -> dict[str, Any]:
    """Keywords of `rfcn.core.detect.choose_detections` from a configuration."""
    test = cfg.TEST
    thresh = test.SOFT_NMS_SIGMA if test.NMS_METHOD == 'soft_gaussian' else test.NMS
    return dict(max_log_ratio=None if cfg.RELEASE_RULES else MAX_LOG_RATIO, thresh=test.SCORE_THRESH, nms_thresh=thresh,
                max_per_image=test.max_per_image, class_agnostic=cfg.CLASS_AGNOSTIC,
                method=test.NMS_METHOD.replace('soft_', ''),
                vote_thresh=test.BOX_VOTING_THRESH if test.BOX_VOTING else None)


def bbox_normalisation(cfg: Config) -> tuple[np.ndarray, np.ndarray]:
    """Means and stds of the box targets, each (4 * num_reg_classes,)."""
    sets = 2 if cfg.CLASS_AGNOSTIC else cfg.dataset.NUM_CLASSES
    if not cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        return np.zeros(4 * sets), np.ones(4 * sets)
    return np.tile(cfg.TRAIN.BBOX_MEANS, sets), np.tile(cfg.TRAIN.BBOX_STDS, sets)


def unnormalised(cfg: Config) -> Callable[[Params], Params]:
    """A function arg_params -> the box layers' parameters for inference."""
    means, stds = bbox_normalisation(cfg)
    return lambda arg_params: checkpoint.unnormalised_bbox(arg_params, means, stds, cfg.network.POOLED_SIZE ** 2)
