"""COCO's evaluation of boxes, computed by pycocotools."""
from __future__ import annotations

import contextlib
import io
import json
import os
from typing import Any

import numpy as np
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from lib.dataset.annotations import CROWD, AnnotatedSet
from lib.dataset.coco_json import to_bbox
from lib.dataset.files import read_text
from lib.dataset.imdb import IMDB, Evaluation
from lib.errors import DatasetError
from lib.utils.whole_file import whole_text

# The 12 numbers of COCO in the order of pycocotools: average precision, and average recall with 1, 10, 100 detections.
STATISTICS = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large',
              'AR1', 'AR10', 'AR100', 'AR_small', 'AR_medium', 'AR_large')
IOU_50 = 0      # the first of the ten IoU thresholds 0.50, 0.55 ... 0.95
ALL_AREAS, MAX_100 = 0, -1


class CocoScored(IMDB):
    """A data set that is evaluated as COCO. The ground truth is that of `counted_items`.

    Attributes:
        image_ids: for each image its id in the json file.
        category_ids: class name -> id in the json file, None if that has no categories.
    """

    def __init__(self, data: AnnotatedSet, **options: Any):
        super().__init__(data, **options)
        ids = dict(zip([str(number) for number in data.ids.images], data.ids.images))
        self.image_ids = [ids[index] for index in self.image_set_index]
        self.category_ids = data.ids.categories

    def evaluate_detections(self, all_boxes: list, output_dir: str | None = None) -> Evaluation:
        """COCO's average precision and recall.

        With `output_dir`, output_dir/detections_<image_set>_results.json is written, in the format of COCO's test
        server. Detections of a set without annotations are only written, not evaluated.

        Returns:
            Evaluation with the metrics in STATISTICS, 'mAP@0.5' (AP50 again), 'AP/<class>' and 'AP@0.5/<class>'; NaN if
            there are no such objects. The score is AP, the mean over the IoUs 0.50 to 0.95.
        """
        self.check_detections(all_boxes)
        results = self.make_results(all_boxes)
        if output_dir is not None:
            os.makedirs(output_dir, exist_ok=True)
            with whole_text(self.result_file(output_dir)) as file:
                json.dump(results, file)
        return self._evaluate(results)

    def evaluate_files(self, output_dir: str) -> Evaluation:
        """Evaluate the detections that `evaluate_detections` wrote into `output_dir`.

        Raises:
            FileNotFoundError: there is no such file.
            DatasetError: it holds something else, or detections of other images or classes.
        """
        path = self.result_file(output_dir)
        text = read_text(path, 'detections')
        try:
            results = [_read_result(result) for result in json.loads(text)]
            images, categories = ({result[key] for result in results} for key in ('image_id', 'category_id'))
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise DatasetError('%s: expected a json list of detections, each with image_id, category_id, bbox and '
                               'score: %s. Detect again' % (path, error)) from error
        strange = sorted(map(str, images - set(self.image_ids) | categories - set(self.category_ids.values())))
        if strange:
            raise DatasetError('%s: holds detections of images or categories that %s does not have, such as %s: they '
                               'were made for another data set. Detect again' % (path, self.name, strange[0]))
        return self._evaluate(results)

    def result_file(self, output_dir: str) -> str:
        """Path of the written detections within `output_dir`."""
        return os.path.join(output_dir, 'detections_%s_results.json' % self.image_set.replace('/', '_'))

    def make_results(self, all_boxes: list) -> list[dict]:
        """Detections in COCO's result format: a dict of image_id, category_id, bbox (x, y, w, h) and score for each."""
        if None in self.category_ids.values():
            raise DatasetError('%s: has no categories, so that the ids of the classes are not known. Add them to it'
                               % self.data.pictures[0].source)
        return [{'image_id': image, 'category_id': self.category_ids[name],
                 'bbox': to_bbox(box), 'score': score}
                for name, of_class in zip(self.classes[1:], all_boxes[1:])
                for image, dets in zip(self.image_ids, of_class)
                for *box, score in np.asarray(dets, dtype=np.float64).reshape(-1, 5).tolist()]

    def _evaluate(self, results):
        if not self.has_annotations:
            return Evaluation(float('nan'), {}, '%s has no annotations: nothing was evaluated' % self.name)
        images = {identifier: number for number, identifier in enumerate(self.image_ids, 1)}
        classes = {self.category_ids[name]: number for number, name in enumerate(self.classes) if number}
        results = [dict(result, image_id=images[result['image_id']], category_id=classes[result['category_id']])
                   for result in results]
        return _evaluate_results(self.ground_truth(), results, self.classes[1:])

    def ground_truth(self) -> dict:
        """The objects that detections are compared with, as the content of a json file in COCO's format.

        Images and categories are numbered from 1: pycocotools puts their ids into arrays, which large ids do not fit.
        """
        annotations = [{'id': number, 'image_id': int(owner) + 1, 'bbox': to_bbox(box.tolist()), 'area': float(area),
                        'category_id': int(item['label']) + 1, 'iscrowd': int(item['flags'] & CROWD > 0),
                        'need_not_be_found': bool(item['flags'])}
                       for number, (item, owner, box, area) in enumerate(zip(*self.counted_items()), 1)]
        return {'images': [{'id': number + 1, 'width': picture.size[0], 'height': picture.size[1]}
                           for number, picture in enumerate(self.data.pictures)],
                'categories': [{'id': number, 'name': name} for number, name in enumerate(self.classes) if number],
                'annotations': annotations}


def _read_result(result):
    x, y, width, height, score = map(float, [*result['bbox'], result['score']])
    if not np.isfinite([x, y, width, height, score]).all():
        raise ValueError('numbers that are not finite')
    return dict(result, bbox=[x, y, width, height], score=score)


class _BoxEvaluation(COCOeval):
    """COCOeval with objects that need not be found: it overwrites the key `ignore` by `iscrowd` alone."""

    def _prepare(self):
        super()._prepare()
        for objects in self._gts.values():
            for one in objects:
                one['ignore'] = one['need_not_be_found']


def _evaluate_results(data, results, names):
    """Evaluation of results by the ground truth `data`; images and categories are numbered from 1."""
    with contextlib.redirect_stdout(io.StringIO()):             # pycocotools prints its progress
        truth = _index(data)
        found = truth.loadRes(results) if results else _index(dict(data, annotations=[]))
        evaluation = _BoxEvaluation(truth, found, 'bbox')
        evaluation.params.catIds = list(range(1, len(names) + 1))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: _or_nan(value) for name, value in zip(STATISTICS, evaluation.stats)}
    metrics['mAP@0.5'] = metrics['AP50']
    precision = evaluation.eval['precision'][:, :, :, ALL_AREAS, MAX_100]          # (IoUs, recalls, classes)
    for number, name in enumerate(names):
        metrics['AP/' + name] = _mean(precision[:, :, number])
        metrics['AP@0.5/' + name] = _mean(precision[IOU_50, :, number])
    return Evaluation(metrics['AP'], metrics, _table(metrics, names))


def _index(data):
    index = CocoIndex()
    index.dataset = data
    index.createIndex()
    return index


def _or_nan(value):
    """The value as a float; pycocotools gives -1 where there are no objects."""
    return float(value) if value > -1 else float('nan')


def _mean(precision):
    return _or_nan(precision[precision > -1].mean() if (precision > -1).any() else -1)


def _table(metrics, names):
    width = max(map(len, list(names) + ['class']))
    lines = ['%-*s%9s%9s' % (width, 'class', 'AP', 'AP50')]
    lines += ['%-*s%9.4f%9.4f' % (width, name, metrics['AP/' + name], metrics['AP@0.5/' + name])
              for name in names]
    lines += ['%-*s%9.4f%9.4f' % (width, 'mean', metrics['AP'], metrics['AP50'])]
    return '\n'.join(lines + ['%s %.4f' % (name, metrics[name]) for name in STATISTICS])
