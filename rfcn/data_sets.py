"""The data sets of a configuration: their images, their options, their classes."""
from __future__ import annotations

import logging
from typing import Any

from lib.dataset import load_imdbs, published_classes, roidb_of
from lib.dataset.box_rule import CLIP, MIN_SIDE, RELEASE
from lib.dataset.imdb import IMDB, filter_roidb
from lib.errors import ConfigError
from rfcn.checkpoints.identity import CLASSES, classes_of
from rfcn.checkpoints.states import identity_of_params
from rfcn.config.config import Config, with_overrides
from rfcn.config.defaults import KEYS

logger = logging.getLogger(__name__)

_opened = {}    # data sets that `with_classes` opened, for the next call of `datasets`: so files are read once


def datasets(cfg: Config, image_sets: str) -> list[IMDB]:
    """The data sets of 'a+b'. Classes: those of the configuration, else the data set's own."""
    kept = _opened.pop(_reading(cfg, image_sets), None)
    _opened.clear()
    if kept and (kept[0].data.classes == tuple(cfg.dataset.CLASSES) or not cfg.dataset.CLASSES):
        return kept
    return load_imdbs(cfg.dataset.dataset, image_sets, cfg.dataset.dataset_path, **reading_options(cfg),
                      **dataset_options(cfg))


def _reading(cfg, image_sets):
    """All settings that the content of data sets depends on, except the class names."""
    keys = (key for key in cfg.dataset if key not in ('CLASSES', 'NUM_CLASSES'))
    return (image_sets, cfg.RELEASE_RULES) + tuple((key, cfg.dataset[key]) for key in keys)


def training_roidb(cfg: Config) -> list[dict]:
    """Entries of all training images and their flipped copies; images without objects only with TRAIN.KEEP_EMPTY.

    Raises:
        DatasetError: with counts, if no object is left to train on; an image cannot be read or has another size than
            annotated, as far as headers tell.
    """
    imdbs = datasets(cfg, cfg.dataset.image_set)
    roidb = roidb_of(imdbs, flip=cfg.TRAIN.FLIP)
    for imdb in imdbs:
        imdb.check_headers()
    return filter_roidb(roidb, keep_empty=cfg.TRAIN.KEEP_EMPTY and not cfg.RELEASE_RULES)


def all_sets(cfg: Config) -> list[str]:
    """Names of all image sets that a configuration uses: those to train on first."""
    names = [name.strip() for name in cfg.dataset.image_set.split('+')]
    others = (cfg.dataset.test_image_set, cfg.dataset.val_image_set)
    return list(dict.fromkeys(names + [name for name in others if name]))


def reading_options(cfg: Config) -> dict[str, Any]:
    """Keywords of `lib.dataset.read_annotated`."""
    return dict(classes=cfg.dataset.CLASSES or None, sets=all_sets(cfg), origin=cfg.dataset.CSV_ORIGIN)


def dataset_options(cfg: Config) -> dict[str, Any]:
    """Keywords of a data set's class, the rule for its boxes among them."""
    of_coco = cfg.dataset.dataset == 'coco'
    options = dict(on_unknown_class=cfg.dataset.on_unknown_class, on_bad_image=cfg.dataset.on_bad_image,
                   max_pixels=cfg.dataset.MAX_PIXELS,
                   min_box_side=1 if cfg.RELEASE_RULES and not of_coco else MIN_SIDE,
                   box_rule=RELEASE if cfg.RELEASE_RULES and of_coco else CLIP)
    if not of_coco and cfg.dataset.USE_07_METRIC != 'auto':     # COCO's evaluation has its own AP
        options['use_07_metric'] = cfg.dataset.USE_07_METRIC
    return options


def with_classes(cfg: Config, params: str | None = None) -> Config:
    """The configuration with the class names filled in where it does not give them: from a checkpoint that knows its
    classes, or else from the data set; those of VOC and COCO are known without it.

    Args:
        params: path of the checkpoint that is used.
    Raises:
        ConfigError: no names in the configuration and nothing to take them from.
    """
    known = classes_of(identity_of_params(params)) if params and not cfg.dataset.CLASSES else ()
    if known:
        return _with_names(cfg, known, 'checkpoint')
    if cfg.dataset.CLASSES:
        return cfg
    try:
        imdbs = datasets(cfg, cfg.dataset.image_set)
    except FileNotFoundError as error:
        names = published_classes(cfg.dataset.dataset, cfg.dataset.image_set)
        if len(names) + 1 == cfg.dataset.NUM_CLASSES:
            return with_overrides(cfg, {CLASSES: list(names)})
        raise ConfigError('%s. The class names come from the data set unless dataset.CLASSES gives them: correct '
                          'dataset.*, or, with a trained network, use the config.yaml that training wrote'
                          % error) from None
    _opened[_reading(cfg, cfg.dataset.image_set)] = imdbs
    return _with_names(cfg, imdbs[0].classes[1:], 'data set')


def _with_names(cfg, names, whose):
    found = with_overrides(cfg, {CLASSES: list(names)})
    if cfg.dataset.NUM_CLASSES not in (found.dataset.NUM_CLASSES, KEYS['dataset.NUM_CLASSES'].default):
        logger.info('dataset.NUM_CLASSES is %d, for the classes of the %s and the background, in place of %d',
                    found.dataset.NUM_CLASSES, whose, cfg.dataset.NUM_CLASSES)
    return found
