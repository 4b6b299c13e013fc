"""Average precision as PASCAL VOC defines it.

The detections of a class are taken by falling score. A detection is right if its IoU with the object that it overlaps
most exceeds a threshold, and no earlier detection was right about the same object; otherwise it is wrong. A detection
of a difficult object counts as neither, and difficult objects need not be found. Average precision is computed from the
curve of precision over recall: the mean of the best precision at recalls 0, 0.1 ... 1 (VOC2007), or the area under the
curve (VOC2010 and later).
"""
from __future__ import annotations

import hashlib
import os
from typing import Any, Iterable, Mapping, NamedTuple, Sequence
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike

from lib.bbox.bbox_transform import bbox_overlaps
from lib.dataset.annotations import AnnotatedSet
from lib.dataset.files import read_file
from lib.dataset.imdb import IMDB, Evaluation
from lib.errors import DatasetError
from lib.utils.whole_file import LONGEST, whole_files

THRESHOLDS = (0.5, 0.7)
_CUT = 40       # characters of a file's name that are kept where it is too long
_NOTHING = np.empty((0, 4)), np.empty(0, dtype=bool)


class Matches(NamedTuple):
    """The detections of a class by falling score, each with the object that it overlaps most."""
    overlaps: np.ndarray        # (D,) float64 IoU with it; -1 if the image has no object of the class
    objects: np.ndarray         # (D,) int, its number among the objects of the whole set
    difficult: np.ndarray       # (D,) bool, whether that object is difficult
    num_objects: int            # number of objects of the set that are not difficult


def match_detections(detections: dict[str, ArrayLike], truth: dict[str, tuple[np.ndarray, np.ndarray]]) -> Matches:
    """Find for each detection of a class the object of the same image that it overlaps most.

    Of detections of equal score, the one that is given first comes first.

    Args:
        detections: image name -> (n, 5) boxes and scores.
        truth: image name -> ((m, 4) boxes, (m,) bool difficult) of the ground truth.
    """
    starts = dict(zip(truth, np.cumsum([0] + [len(boxes) for boxes, _ in truth.values()])))
    rows = [np.empty((0, 4))]                                   # score, overlap, object, difficult
    for image, dets in detections.items():
        dets = np.asarray(dets, dtype=np.float64).reshape(-1, 5)
        boxes, difficult = truth.get(image, _NOTHING)
        found = np.column_stack([dets[:, 4], np.full((len(dets), 3), -1.0)])
        if len(boxes):
            overlaps = bbox_overlaps(dets[:, :4], boxes)        # (n, m)
            best = overlaps.argmax(axis=1)
            found[:, 1:] = np.column_stack([overlaps.max(axis=1), starts[image] + best, difficult[best]])
        rows.append(found)
    rows = np.concatenate(rows)
    # Departure: the release's sort is not stable: its order of equal scores depends on the version of NumPy.
    rows = rows[np.argsort(-rows[:, 0], kind='stable')]
    num_objects = sum(int(np.sum(~difficult)) for _, difficult in truth.values())
    return Matches(rows[:, 1], rows[:, 2].astype(int), rows[:, 3] == 1, num_objects)


def precision_recall(matches: Matches, ovthresh: float) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection, (D,) float64 each; a right one has an IoU above `ovthresh`.

    The recall is NaN where there is no object to find.
    """
    hit = matches.overlaps > ovthresh
    candidates = np.flatnonzero(hit & ~matches.difficult)
    right = np.zeros(len(hit), dtype=bool)
    right[candidates[np.unique(matches.objects[candidates], return_index=True)[1]]] = True
    wrong = ~right & ~(hit & matches.difficult)
    true, false = np.cumsum(right, dtype=np.float64), np.cumsum(wrong, dtype=np.float64)
    recall = true / (matches.num_objects or np.nan)
    return recall, true / np.maximum(true + false, np.finfo(np.float64).eps)


def voc_ap(recall: np.ndarray, precision: np.ndarray, use_07_metric: bool = False) -> float:
    """The average precision of a curve: the mean of 11 points (VOC2007), or the area under it."""
    if use_07_metric:
        return float(np.mean([np.max(precision[recall >= level], initial=0.0) for level in np.arange(0.0, 1.1, 0.1)]))
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]    # best from this recall on
    return float(np.sum(np.diff(recall) * envelope))


def voc_eval(detections: dict[str, ArrayLike], truth: dict[str, tuple[np.ndarray, np.ndarray]], ovthresh: float = 0.5,
             use_07_metric: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
    """Evaluate the detections of one class.

    Args:
        detections, truth: as of `match_detections`.
        ovthresh: IoU that a right detection exceeds.
        use_07_metric: see `voc_ap`.
    Returns:
        recall, precision: (D,) float64, by falling score.
        average precision: float; NaN if the set has no object of the class that is not difficult.
        (Release: lib/dataset/pascal_voc_eval.py, voc_eval.)
    """
    matches = match_detections(detections, truth)
    recall, precision = precision_recall(matches, ovthresh)
    return recall, precision, voc_ap(recall, precision, use_07_metric) if matches.num_objects else float('nan')


def evaluate_detections(detections: dict[str, dict], truth: dict[str, dict], *, use_07_metric: bool = True,
                        thresholds: Sequence[float] = THRESHOLDS, count_absent: bool = False) -> Evaluation:
    """Evaluate the detections of all classes.

    Args:
        detections: class name -> image name -> (n, 5) boxes and scores.
        truth: class name -> image name -> ((m, 4) boxes, (m,) bool difficult).
        use_07_metric: whether 'mAP' and 'AP' are those of VOC2007 or the area under the curve.
        thresholds: IoUs; the mAP at the first one is the score.
        count_absent: whether a class without objects counts as 0 in the means.
    Returns:
        Evaluation with 'mAP@0.5' and 'AP@0.5/<class>' by the chosen metric, and with 'mAP_07@0.5' and 'mAP_area@0.5',
        for each threshold.
    """
    matches = {name: match_detections(detections[name], truth[name]) for name in truth}
    curves = [[precision_recall(found, threshold) for found in matches.values()] for threshold in thresholds]
    present = np.array([found.num_objects > 0 for found in matches.values()])
    aps = {metric: np.where(present, [[voc_ap(*curve, metric == '07') for curve in row] for row in curves], np.nan)
           for metric in ('07', 'area')}                        # each (thresholds, classes)
    metrics = {'mAP_%s@%g' % (metric, threshold): _mean(row, count_absent)
               for metric in aps for threshold, row in zip(thresholds, aps[metric])}
    chosen = '07' if use_07_metric else 'area'
    for threshold, row in zip(thresholds, aps[chosen]):
        metrics['mAP@%g' % threshold] = metrics['mAP_%s@%g' % (chosen, threshold)]
        metrics.update({'AP@%g/%s' % (threshold, name): float(ap) for name, ap in zip(matches, row)})
    return Evaluation(metrics['mAP@%g' % thresholds[0]], metrics, _table(matches, aps[chosen], thresholds, metrics))


def _mean(aps, count_absent):
    # Departure: in the release a class that the test set lacks has AP 0. Own data often lack a class, which says
    # nothing about the detector.
    aps = np.nan_to_num(aps) if count_absent else aps[~np.isnan(aps)]
    return float(np.mean(aps)) if len(aps) else float('nan')


def _table(matches, aps, thresholds, metrics):
    """The chosen metric for each class, and the means of both metrics."""
    rows = [['class', 'objects'] + ['AP@%g' % threshold for threshold in thresholds]]
    rows += [[name, found.num_objects] + ['%.4f' % ap for ap in column]
             for (name, found), column in zip(matches.items(), aps.T)]
    total = sum(found.num_objects for found in matches.values())
    rows += [[title, total] + ['%.4f' % metrics['%s@%g' % (key, threshold)] for threshold in thresholds]
             for title, key in (('mean', 'mAP'), ('mean, 07', 'mAP_07'), ('mean, area', 'mAP_area'))]
    width = max(len(row[0]) for row in rows)
    return '\n'.join(row[0].ljust(width) + ''.join('%9s' % cell for cell in row[1:]) for row in rows)


def detections_path(folder: str, image_set: str, name: str) -> str:
    """Path of the detections of a class, named as the VOC server requires; odd characters in the class are escaped.

    A name too long for a file is cut and gets a digest of all of it: a letter of Chinese takes nine characters.
    """
    stem = 'comp4_det_%s_%s' % (image_set.replace('/', '_'), quote(name, safe=' '))
    if len(os.fsencode(stem)) > LONGEST:
        stem = '%s_%s' % (stem[:_CUT], hashlib.sha1(os.fsencode(stem)).hexdigest())
    return os.path.join(folder, stem + '.txt')


def write_detections(by_path: Mapping[str, Iterable[tuple[str, ArrayLike]]], *, score_decimals: int | None = None,
                     box_decimals: int | None = None) -> None:
    """Write files of detections that belong together, one for each class; a line has image, score, box counted from 1.

    Args:
        by_path: path of a file -> pairs of image name and (n, 5) boxes, counted from 0, and scores.
        score_decimals, box_decimals: digits after the point; None writes as many as give the same number when read.
    """
    # Departure: the release writes 3 and 1 decimals, so that scores tie, and the order of ties changes the AP.
    with whole_files(list(by_path)) as temporaries:
        for temporary, detections in zip(temporaries, by_path.values()):
            with open(temporary, 'w', encoding='utf-8', errors='surrogateescape') as file:  # names need not be UTF-8
                for image, dets in detections:
                    name = image.replace('\n', '\\n').replace('\r', '\\r')    # a line stays one
                    for *box, score in np.asarray(dets, dtype=np.float64).reshape(-1, 5).tolist():
                        numbers = [_decimal(score, score_decimals)] + [_decimal(side + 1, box_decimals) for side in box]
                        file.write('%s %s\n' % (name, ' '.join(numbers)))


def _decimal(value, decimals):
    return repr(value) if decimals is None else '%.*f' % (decimals, value)


def read_detections(path: str) -> dict[str, np.ndarray]:
    """Read a file that `write_detections` or the release wrote.

    Returns:
        image name -> (n, 5) float64 boxes, counted from 0, and scores.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: a line does not have the name of an image and five numbers.
    """
    found = {}
    text = read_file(path, 'detections').decode('utf-8-sig', 'surrogateescape')
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        try:
            image, *numbers = line.rsplit(None, 5)
            score, x1, y1, x2, y2 = map(float, numbers)
        except ValueError:
            raise DatasetError("%s: line %d: expected 'image score x1 y1 x2 y2', found %.100r"
                               % (path, number, line)) from None
        found.setdefault(image, []).append([x1 - 1, y1 - 1, x2 - 1, y2 - 1, score])
    return {image: np.array(rows) for image, rows in found.items()}


def evaluate_files(folder: str, image_set: str, truth: dict[str, dict], **options: Any) -> Evaluation:
    """Evaluate saved detections, a file for each class of `truth`. Options and result as of `evaluate_detections`."""
    detections = {name: read_detections(detections_path(folder, image_set, name)) for name in truth}
    return evaluate_detections(detections, truth, **options)


class VocScored(IMDB):
    """A data set that is evaluated as PASCAL VOC: those in VOC's layout, CSV lists and YOLO files.

    The ground truth is that of `counted_items`; its flagged objects are those that VOC calls difficult.

    Args:
        data, options: as of `IMDB`.
        use_07_metric: whether average precision is that of VOC2007 (11 points) or the area under the curve. None: that
            of VOC2007 for VOC's own data before 2010, the area for all other data.
        score_decimals, box_decimals: digits in the written detections; None writes all. The release writes 3 and 1.
    """

    def __init__(self, data: AnnotatedSet, *, use_07_metric: bool | None = None, score_decimals: int | None = None,
                 box_decimals: int | None = None, **options: Any):
        super().__init__(data, **options)
        # Departure: the release takes VOC2007's 11 points for own data too.
        early = data.official and data.name.startswith('VOC200')
        self.use_07_metric = early if use_07_metric is None else use_07_metric
        self.decimals = {'score_decimals': score_decimals, 'box_decimals': box_decimals}

    def ground_truth(self) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """The objects that detections are compared with.

        Returns:
            class name -> image name -> ((n, 4) float64 boxes counted from 0, (n,) bool, whether they are difficult).
        """
        counted = self.counted_items()
        truth = {name: {} for name in self.classes[1:]}
        for number, name in enumerate(self.classes[1:]):
            rows = np.flatnonzero(counted.items['label'] == number)
            starts = np.flatnonzero(np.diff(counted.owners[rows], prepend=-1))
            for of_image in np.split(rows, starts[1:]) if len(rows) else ():
                truth[name][self.image_set_index[counted.owners[of_image[0]]]] = (
                    counted.boxes[of_image], counted.items['flags'][of_image] > 0)
        return truth

    def result_folder(self, output_dir: str) -> str:
        """Folder of the written detections in `output_dir`; for VOC's layout as the test server's archive has it."""
        if self.data.format == 'PascalVOC':
            return os.path.join(output_dir, 'results', self.name[:-len(self.image_set) - 1], 'Main')
        return os.path.join(output_dir, 'results', self.name)

    def evaluate_detections(self, all_boxes: list, output_dir: str | None = None) -> Evaluation:
        """Average precision of each class at IoU 0.5 and 0.7 as PASCAL VOC defines it.

        With `output_dir`, a file of detections for each class is written into `result_folder(output_dir)`. Detections
        of a set without annotations are only written, not evaluated.
        """
        self.check_detections(all_boxes)
        if output_dir is not None:
            self.write_results(all_boxes, output_dir)
        if not self.has_annotations:
            return Evaluation(float('nan'), {}, '%s has no annotations: nothing was evaluated' % self.name)
        detections = {name: dict(zip(self.image_set_index, of_class))
                      for name, of_class in zip(self.classes[1:], all_boxes[1:])}
        return evaluate_detections(detections, self.ground_truth(), use_07_metric=self.use_07_metric)

    def evaluate_files(self, output_dir: str) -> Evaluation:
        """Evaluate the detections that `evaluate_detections` wrote into `output_dir`."""
        return evaluate_files(self.result_folder(output_dir), self.image_set, self.ground_truth(),
                              use_07_metric=self.use_07_metric)

    def write_results(self, all_boxes: list, output_dir: str) -> str:
        """Write a file of detections for each class, and return their folder."""
        folder = self.result_folder(output_dir)
        os.makedirs(folder, exist_ok=True)
        write_detections({detections_path(folder, self.image_set, name): zip(self.image_set_index, of_class)
                          for name, of_class in zip(self.classes[1:], all_boxes[1:])}, **self.decimals)
        return folder
