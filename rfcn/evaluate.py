"""Detections of a data set and how good they are; used while training and by `rfcn/test.py`.

With several workers each detects on its share of the images, and then has the detections on all images.
"""
from __future__ import annotations

import io
from typing import Sequence

import numpy as np

from lib.dataset.imdb import IMDB, Evaluation, check_usable
from lib.errors import DatasetError
from lib.utils.console import listed
from rfcn.config.config import Config
from rfcn.core.detect import Predictor, detect_all
from rfcn.core.image_loaders import detection_scales, largest_first, view_loaders
from rfcn.core.workers import workers
from rfcn.inference import nms_settings


def detections(cfg: Config, predictor: Predictor, roidb: list[dict], proposals: bool = False) -> list[list[np.ndarray]]:
    """Detections on a list of entries: all_boxes[class][image] = (n, 5).

    Args:
        predictor: `Predictor`, or `GivenRoisPredictor` with `proposals`.
        roidb: list of entries. proposals: detect on the proposals in the entries.
    """
    group = workers()
    mine = share_of(largest_first(roidb, detection_scales(cfg)[0]), cfg.TEST.BATCH_IMAGES, group.rank, group.count)
    all_boxes = [[] for _ in range(cfg.dataset.NUM_CLASSES)]
    if mine:
        loaders = view_loaders(cfg, [roidb[i] for i in mine], proposals)
        all_boxes = detect_all(predictor, loaders, cfg.dataset.NUM_CLASSES, **nms_settings(cfg))
        loaders[0].log_skipped()  # those of the other views skip the same ones
    return unpacked(group.gather(packed(all_boxes, mine)), cfg.dataset.NUM_CLASSES, len(roidb))


def share_of(order: Sequence[int], batch_images: int, rank: int, count: int) -> list[int]:
    """Every count-th batch of a list of image numbers, made of the same images as if there were one worker."""
    batches = [order[start:start + batch_images] for start in range(0, len(order), batch_images)]
    return [image for batch in batches[rank::count] for image in batch]


def packed(all_boxes: Sequence[Sequence[np.ndarray]], images: Sequence[int]) -> bytes:
    """The detections of some images as bytes, without pickle; `images` are the numbers of the images."""
    found = [(c, image, boxes) for c, of_class in enumerate(all_boxes) for image, boxes in zip(images, of_class)]
    counts = np.array([(c, image, len(boxes)) for c, image, boxes in found], dtype=np.int64).reshape(-1, 3)
    file = io.BytesIO()
    np.save(file, counts, allow_pickle=False)
    np.save(file, np.concatenate([boxes for _, _, boxes in found] + [np.zeros((0, 5), np.float32)]), allow_pickle=False)
    return file.getvalue()


def unpacked(shares: Sequence[bytes], num_classes: int, images: int) -> list[list[np.ndarray]]:
    """all_boxes[class][image], from the bytes that `packed` made of each worker's images."""
    all_boxes = [[None] * images for _ in range(num_classes)]
    for data in shares:
        file = io.BytesIO(data)
        counts, boxes = (np.load(file, allow_pickle=False) for _ in range(2))
        ends = np.cumsum(counts[:, 2])
        for (c, image, count), end in zip(counts.tolist(), ends):
            all_boxes[c][image] = boxes[end - count:end].copy()
    return all_boxes


def check_testable(imdb: IMDB) -> None:
    """Raise an error for a data set that nothing can be tested on.

    Raises:
        DatasetError: with counts, where no object is left to be found; an image cannot be read or has another size than
            annotated, as far as headers tell.
    """
    imdb.check_headers()
    if imdb.has_annotations:
        check_usable([imdb], 'tested on')


def evaluate(cfg: Config, predictor: Predictor, imdb: IMDB, output_path: str | None = None,
             given: list[dict] | None = None) -> tuple[Evaluation, list[list[np.ndarray]]]:
    """Detect on every image of `imdb`.

    Args:
        given: its entries with proposals, for a `GivenRoisPredictor`; None where the network makes its own.
    Returns:
        Evaluation, all_boxes.
    Raises:
        DatasetError: see `check_testable`; the data set has other classes than the configuration, or in another order.
    """
    known = cfg.dataset.CLASSES
    if known and known != imdb.classes[1:]:
        raise DatasetError('%s: has the classes %s, and the configuration %s, so that numbers of classes would be '
                           'mixed up. Open it by rfcn.data_sets.datasets(cfg, image_set), or with the keyword '
                           'classes=cfg.dataset.CLASSES' % (imdb.name, listed(imdb.classes[1:]), listed(known)))
    check_testable(imdb)
    all_boxes = detections(cfg, predictor, imdb.gt_roidb() if given is None else given, proposals=given is not None)
    return imdb.evaluate_detections(all_boxes, output_path if workers().first else None), all_boxes
