"""Every detection of a test judged by the objects around it: hits, kinds of errors, what each kind costs.

The kinds are those of TIDE (Bolya et al. 2020, section 2.2), at IoU 0.5:

    place        of the right class, but the IoU is between 0.1 and 0.5
    class        on an object (IoU from 0.5 on) of another class
    duplicate    on an object that a better scored detection has found
    background   on nothing: every IoU is below 0.1
    both         near an object of another class: its IoU is between 0.1 and 0.5
    missed       an object that no detection hits, nor mistakes in class or place

What a kind costs is the gain in mAP if its errors were fixed and all others stayed: errors of class and of place
become hits of their object, if it has none; the others vanish; missed objects are not counted.
"""
from typing import Dict, List, NamedTuple

import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps
from lib.dataset.annotations import CROWD
from lib.dataset.voc_eval import voc_ap

HIT, EXCUSED, PLACE, CLASS, DUPLICATE, BACKGROUND, BOTH = range(7)      # verdicts on a detection
MISSED = 'missed'
KINDS = {'class': CLASS, 'place': PLACE, 'both': BOTH, 'duplicate': DUPLICATE, 'background': BACKGROUND}
FOREGROUND, NEAR = 0.5, 0.1         # IoU
# name -> the least area of an object in pixels, and the least that is too much: COCO's
SIZES = {'small': (0, 32 ** 2), 'medium': (32 ** 2, 96 ** 2), 'large': (96 ** 2, np.inf)}
NONE = -1


class Objects(NamedTuple):
    """The annotated objects of a set, in columns."""
    images: np.ndarray      # (T,) int, number of the image
    labels: np.ndarray      # (T,) int, class from 1 on
    boxes: np.ndarray       # (T, 4)
    excused: np.ndarray     # (T,) bool: difficult, crowd or ignored; need not be found
    crowds: np.ndarray      # (T,) bool
    areas: np.ndarray       # (T,) pixels


class JudgedDetections(NamedTuple):
    """The detections of a set, in columns, and their verdicts."""
    images: np.ndarray      # (D,) int
    labels: np.ndarray      # (D,) int
    boxes: np.ndarray       # (D, 4)
    scores: np.ndarray      # (D,)
    verdicts: np.ndarray    # (D,) int, of the seven above
    targets: np.ndarray     # (D,) int, the object that it hits or mistakes; NONE where there is none


class Curve(NamedTuple):
    """Precision against recall of a class after each detection, the best scored first."""
    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    ap: float               # area under the curve; NaN where the class has no objects


def objects_of(imdb) -> Objects:
    """The objects that a data set's evaluation counts."""
    items, owners, boxes, areas = imdb.counted_items()
    return Objects(owners, items['label'].astype(int) + 1, boxes, items['flags'] > 0, items['flags'] & CROWD > 0,
                   areas)


def judge_detections(objects: Objects, all_boxes) -> JudgedDetections:
    """Judge all detections of a set.

    As in VOC's evaluation a detection is compared with the object of its class that it overlaps most; that of a
    difficult object counts as neither hit nor error, and so does one of which half lies in a crowd of its class.

    Args:
        all_boxes: [class][image] = (n, 5), class 0 unused.
    """
    number = len(all_boxes[1])
    starts = np.searchsorted(objects.images, np.arange(number + 1))     # objects stand image by image
    columns = []
    for image in range(number):
        dets = [np.asarray(of_class[image], dtype=np.float64).reshape(-1, 5) for of_class in all_boxes[1:]]
        labels = np.repeat(np.arange(1, len(all_boxes)), [len(rows) for rows in dets])
        dets = np.concatenate(dets)
        order = np.argsort(-dets[:, 4], kind='stable')
        dets, labels = dets[order], labels[order]
        verdicts, targets = _judge_image(objects, np.arange(starts[image], starts[image + 1]), dets, labels)
        columns.append((np.full(len(dets), image), labels, dets[:, :4], dets[:, 4], verdicts, targets))
    return JudgedDetections(*[np.concatenate(column) for column in zip(*columns)])


def _judge_image(objects, rows, dets, labels):
    """Verdicts and targets of the detections of an image, the best scored first; `rows`: of its objects."""
    verdicts, targets = np.full(len(dets), BACKGROUND), np.full(len(dets), NONE)
    if not len(rows) or not len(dets):
        return verdicts, targets
    overlaps = bbox_overlaps(dets[:, :4], objects.boxes[rows])                              # (D, T)
    same = labels[:, None] == objects.labels[rows][None]
    own, other = np.where(same, overlaps, -1), np.where(same, -1, overlaps)
    best, best_other = own.max(axis=1), other.max(axis=1)
    target, target_other = rows[own.argmax(axis=1)], rows[other.argmax(axis=1)]
    on_object = best > FOREGROUND                                                           # as VOC: it must exceed
    for verdict, fits, target_of in (
            (BOTH, best_other >= NEAR, None), (CLASS, best_other >= FOREGROUND, target_other),
            (PLACE, best >= NEAR, target), (DUPLICATE, on_object, target)):     # what comes later counts more
        verdicts[fits] = verdict
        targets[fits] = NONE if target_of is None else target_of[fits]
    candidates = np.flatnonzero(on_object & ~objects.excused[target])
    first = candidates[np.unique(target[candidates], return_index=True)[1]]
    verdicts[first] = HIT
    verdicts[on_object & objects.excused[target]] = EXCUSED
    verdicts[(verdicts != HIT) & _in_crowd(objects, rows, dets, same)] = EXCUSED
    # an object that need not be found is no target of a mistake
    mistaken = (verdicts == PLACE) | (verdicts == CLASS)
    targets[mistaken & (targets != NONE) & objects.excused[targets]] = NONE
    return verdicts, targets


def _in_crowd(objects, rows, dets, same):
    """Whether half of a detection lies in a crowd of its class."""
    crowds = objects.boxes[rows][objects.crowds[rows]]
    if not len(crowds):
        return np.zeros(len(dets), dtype=bool)
    low, high = np.maximum(dets[:, None, :2], crowds[None, :, :2]), np.minimum(dets[:, None, 2:4], crowds[None, :, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=2)                                     # (D, crowds)
    area = np.maximum((dets[:, 2:4] - dets[:, :2] + 1).prod(axis=1), 1e-9)
    return ((shared / area[:, None] >= FOREGROUND) & same[:, objects.crowds[rows]]).any(axis=1)


def curve(scores, hits, num_objects) -> Curve:
    """The curve of detections (n,) of a class, those that count as neither left out."""
    order = np.argsort(-scores, kind='stable')
    found = np.cumsum(hits[order])
    recall, precision = found / max(num_objects, 1), found / np.arange(1, len(found) + 1)
    return Curve(recall, precision, scores[order], voc_ap(recall, precision) if num_objects else float('nan'))


def class_curves(objects: Objects, judged: JudgedDetections, num_classes: int) -> List[Curve]:
    """The curve of each class from 1 on, at IoU 0.5."""
    return _curves(objects, judged, judged.labels, judged.verdicts == HIT, judged.verdicts != EXCUSED,
                   ~objects.excused, num_classes)


def _curves(objects, judged, labels, hits, counted, wanted, num_classes):
    """As `class_curves`, with other labels, hits, detections and objects that count."""
    found = []
    for label in range(1, num_classes):
        rows = np.flatnonzero(counted & (labels == label))
        found.append(curve(judged.scores[rows], hits[rows], int((wanted & (objects.labels == label)).sum())))
    return found


def mean_ap(curves: List[Curve]) -> float:
    """The mean over the classes that have objects; NaN if none has."""
    aps = [each.ap for each in curves if not np.isnan(each.ap)]
    return float(np.mean(aps)) if aps else float('nan')


def missed_objects(objects: Objects, judged: JudgedDetections) -> np.ndarray:
    """(T,) bool: objects that no detection hits, nor mistakes in class or place."""
    touched = np.zeros(len(objects.labels), dtype=bool)
    near = np.isin(judged.verdicts, (HIT, CLASS, PLACE)) & (judged.targets != NONE)
    touched[judged.targets[near]] = True
    return ~touched & ~objects.excused


def error_costs(objects: Objects, judged: JudgedDetections, num_classes: int) -> Dict[str, float]:
    """Kind of error -> the gain in mAP at IoU 0.5 if it were fixed, 0 to 1."""
    base = mean_ap(class_curves(objects, judged, num_classes))
    hit, counted, wanted = judged.verdicts == HIT, judged.verdicts != EXCUSED, ~objects.excused
    costs = {}
    for kind, verdict in KINDS.items():
        of_kind = judged.verdicts == verdict
        mended = _mended(objects, judged, of_kind) if verdict in (CLASS, PLACE) else np.zeros(len(of_kind), bool)
        labels = np.where(mended, objects.labels[judged.targets], judged.labels) if mended.any() else judged.labels
        curves = _curves(objects, judged, labels, hit | mended, counted & (~of_kind | mended), wanted, num_classes)
        costs[kind] = mean_ap(curves) - base
    wanted = wanted & ~missed_objects(objects, judged)
    costs[MISSED] = mean_ap(_curves(objects, judged, judged.labels, hit, counted, wanted, num_classes)) - base
    return costs


def _mended(objects, judged, of_kind):
    """Those errors that become hits: the best scored one of each object that has no hit."""
    found = np.zeros(len(objects.labels), dtype=bool)
    found[judged.targets[judged.verdicts == HIT]] = True
    rows = np.flatnonzero(of_kind & (judged.targets != NONE))
    rows = rows[~found[judged.targets[rows]]]
    rows = rows[np.argsort(-judged.scores[rows], kind='stable')]
    mended = np.zeros(len(of_kind), dtype=bool)
    mended[rows[np.unique(judged.targets[rows], return_index=True)[1]]] = True
    return mended


def size_curves(objects: Objects, judged: JudgedDetections, num_classes: int) -> Dict[str, List[Curve]]:
    """Size -> `class_curves` of the objects of that size; detections of other sizes on nothing do not count."""
    sides = judged.boxes[:, 2:] - judged.boxes[:, :2] + 1
    areas = np.maximum(sides, 0).prod(axis=1)
    hit = judged.verdicts == HIT
    areas = np.where(hit, objects.areas[judged.targets], areas) if len(objects.areas) else areas
    found = {}
    for name, (least, limit) in SIZES.items():
        wanted = ~objects.excused & (objects.areas >= least) & (objects.areas < limit)
        counted = (judged.verdicts != EXCUSED) & (areas >= least) & (areas < limit)
        found[name] = _curves(objects, judged, judged.labels, hit, counted, wanted, num_classes)
    return found


def confusion(objects: Objects, judged: JudgedDetections, num_classes: int, thresh: float) -> np.ndarray:
    """What objects were taken for, by detections of at least that score.

    The best scored detection comes first. It takes the free object of its image that it overlaps most, one of its own
    class before others, if the IoU is at least 0.5.

    Returns:
        (C, C) int: row: class of the object, 0 for detections on none; column: class of the detection, 0 for objects
        without one. Objects and detections that need not be found or count as neither are left out.
    """
    matrix = np.zeros((num_classes, num_classes), dtype=int)
    rows = np.flatnonzero((judged.scores >= thresh) & (judged.verdicts != EXCUSED))
    free = ~objects.excused
    starts = np.searchsorted(objects.images, judged.images[rows]), np.searchsorted(objects.images, judged.images[rows],
                                                                                   side='right')
    for row, start, end in zip(rows, *starts):      # of each image the best scored first
        candidates = np.arange(start, end)[free[start:end]]
        overlaps = bbox_overlaps(judged.boxes[row][None], objects.boxes[candidates])[0] if len(candidates) else \
            np.zeros(0)
        fit = np.flatnonzero(overlaps >= FOREGROUND)
        if not len(fit):
            matrix[0, judged.labels[row]] += 1
            continue
        own = objects.labels[candidates[fit]] == judged.labels[row]
        chosen = candidates[fit[np.argmax(overlaps[fit] + own)]]
        free[chosen] = False
        matrix[objects.labels[chosen], judged.labels[row]] += 1
    for label in objects.labels[free]:
        matrix[label, 0] += 1
    return matrix


def score_histogram(judged: JudgedDetections, bins: int = 20) -> np.ndarray:
    """(2, bins) int: how many hits and how many errors have a score in each part of 0 to 1."""
    part = np.clip((judged.scores * bins).astype(int), 0, bins - 1)     # another program's scores may be others
    return np.stack([np.bincount(part[chosen], minlength=bins)
                     for chosen in (judged.verdicts == HIT, judged.verdicts > EXCUSED)])


def worst_images(objects: Objects, judged: JudgedDetections, thresh: float, count: int) -> List[int]:
    """Numbers of the images with the most mistakes: objects without a hit of at least that score, and errors of it."""
    number = int(max(objects.images.max(initial=-1), judged.images.max(initial=-1))) + 1
    seen = judged.scores >= thresh
    found = np.zeros(len(objects.labels), dtype=bool)
    found[judged.targets[seen & (judged.verdicts == HIT)]] = True
    missed = np.bincount(objects.images[~found & ~objects.excused], minlength=number)
    errors = seen & (judged.verdicts > EXCUSED)
    false = np.bincount(judged.images[errors], weights=judged.scores[errors], minlength=number)
    mistakes = missed + false
    order = np.argsort(-mistakes, kind='stable')[:count]
    return [int(image) for image in order if mistakes[image] > 0]
