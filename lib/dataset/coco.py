"""Data sets in COCO's format: a json file of all annotations of an image set, and folders of images."""
import json
import logging
import os
import re

import numpy as np

from lib.dataset.coco_eval import evaluate_results
from lib.dataset.coco_json import read_coco_json, size_of
from lib.dataset.imdb import IMDB, Evaluation, inside, read_classes
from lib.errors import DatasetError
from lib.utils.image import image_size
from lib.utils.roidb import make_entry

logger = logging.getLogger(__name__)


class COCO(IMDB):
    """COCO itself, or own data in its format.

    The json file is instances_<image_set>.json, image_info_<image_set>.json (test images, without annotations) or
    <image_set>.json, in dataset_path/annotations or in dataset_path. Images lie in images/<image_set>, <image_set>,
    images, or dataset_path itself. The sets minival2014 and valminusminival2014 have theirs in val2014, test-dev2017 in
    test2017.

    Args:
        image_set: 'train2014' and so on.
        root_path: not used; every data set takes it, as in the release.
        dataset_path: folder.
        classes: names of the categories to take, or a text file of them, one a line; by default all, in the file's
            order. They must be given where the file has no categories.
        annotation_file, image_folder: paths, where they are elsewhere.
        data: what `read_coco_json` returned, where it has been called already.
        on_unknown_class: not used, the file lists its categories; data sets without a list take it.
    """

    def __init__(self, image_set, root_path, dataset_path, *, classes=None, annotation_file=None, image_folder=None,
                 data=None, on_unknown_class='error'):
        self.image_set = image_set
        self.annotation_file = annotation_file or find_annotations(image_set, dataset_path)
        self.image_folders = [image_folder] if image_folder else _image_folders(image_set, dataset_path)
        self.data = data or read_coco_json(self.annotation_file)
        self.images = {str(image['id']): image for image in self.data['images']}
        known = {category['name'].strip(): category['id'] for category in self.data['categories']}
        names = [category['name'] for category in self.data['categories']] if classes is None else read_classes(classes)
        name = '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set)
        super(COCO, self).__init__(name, names, self.images)
        self.category_ids = {name: known.get(name) for name in self.classes[1:]}
        missing = [name for name, identifier in self.category_ids.items() if identifier is None]
        if missing and known:
            raise DatasetError('%s: no category %s; there are %s'
                               % (self.annotation_file, ', '.join(missing), ', '.join(known)))

    def image_path(self, index):
        """Path of the image: its file_name in the first of the folders that has it."""
        name = self.images[index]['file_name'].replace('\\', '/')     # written under Windows
        for folder in self.image_folders:
            path = inside(folder, name)
            if os.path.isfile(path):
                return path
        raise FileNotFoundError('%s: there is no such image in %s'
                                % (name, ', '.join(map(os.path.abspath, self.image_folders))))

    def gt_roidb(self):
        """The objects of each image. Crowds, objects without area and other categories are left out."""
        class_of_category = {self.category_ids[name]: label for label, name in enumerate(self.classes) if label}
        objects = {image['id']: [] for image in self.data['images']}
        for annotation in self.data['annotations']:
            if annotation['category_id'] in class_of_category and not annotation['iscrowd']:
                objects[annotation['image_id']].append(annotation)
        return [self._make_entry(index, objects[image['id']], class_of_category)
                for index, image in self.images.items()]

    def _make_entry(self, index, annotations, class_of_category):
        width, height = self._size(index)
        boxes, classes = [], []
        for annotation in annotations:
            box = fit_box(annotation['bbox'], width, height)
            if box is None or annotation['area'] <= 0:
                logger.warning('%s: annotation %d, bbox %s in image %s of %d x %d pixels is empty or outside: dropped',
                               self.annotation_file, annotation['id'], annotation['bbox'], index, width, height)
                continue
            boxes.append(box)
            classes.append(class_of_category[annotation['category_id']])
        return make_entry(self.image_path(index), index, height, width, boxes, classes)

    def _size(self, index):
        return size_of(self.images[index]) or image_size(self.image_path(index))

    def evaluate_detections(self, all_boxes, output_dir=None):
        """COCO's average precision and recall; see `coco_eval`. Test images without annotations are not evaluated.

        With `output_dir`, also writes output_dir/detections_<image_set>_results.json, which the test server takes.
        """
        self.check_detections(all_boxes)
        results = self.make_results(all_boxes)
        if output_dir is not None:
            os.makedirs(output_dir, exist_ok=True)
            with open(self.result_file(output_dir), 'w', encoding='utf-8') as file:
                json.dump(results, file)
        return self._evaluate(results)

    def evaluate_files(self, output_dir):
        """Evaluate the detections that `evaluate_detections` wrote into `output_dir`."""
        with open(self.result_file(output_dir), encoding='utf-8') as file:
            return self._evaluate(json.load(file))

    def _evaluate(self, results):
        if not self.data['annotations']:
            return Evaluation(float('nan'), {}, '%s has no annotations: nothing was evaluated' % self.name)
        return evaluate_results(self.data, results, self.category_ids)

    def result_file(self, output_dir):
        """Path of the written detections within `output_dir`."""
        return os.path.join(output_dir, 'detections_%s_results.json' % self.image_set)

    def make_results(self, all_boxes):
        """Detections in COCO's result format: a list of dicts image_id, category_id, bbox = x, y, w, h, and score."""
        if None in self.category_ids.values():
            raise DatasetError('%s: has no categories, so that the ids of the classes are not known. Add them to it'
                               % self.annotation_file)
        return [{'image_id': self.images[index]['id'], 'category_id': self.category_ids[name],
                 'bbox': [x1, y1, x2 - x1 + 1, y2 - y1 + 1], 'score': score}
                for name, of_class in zip(self.classes[1:], all_boxes[1:])
                for index, dets in zip(self.image_set_index, of_class)
                for x1, y1, x2, y2, score in np.asarray(dets, dtype=np.float64).reshape(-1, 5).tolist()]


def fit_box(bbox, width, height):
    """Turn COCO's x, y, width, height into x1, y1, x2, y2 with both corners inside the box and inside the image.

    Returns:
        list, or None if nothing of the box lies in the image.
    """
    # Departure: the release then cuts the fraction off, by storing boxes as uint16. They keep it here.
    x, y, w, h = bbox
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = min(width - 1, x1 + max(0, w - 1)), min(height - 1, y1 + max(0, h - 1))
    return [x1, y1, x2, y2] if x2 >= x1 and y2 >= y1 else None


def find_annotations(image_set, dataset_path):
    """Path of the json file of a set; FileNotFoundError if there is none."""
    tried = [os.path.join(dataset_path, folder, prefix + image_set + '.json')
             for folder in ('annotations', '') for prefix in ('instances_', 'image_info_', '')]
    for path in tried:
        if os.path.isfile(path):
            return path
    raise FileNotFoundError("there are no annotations of the image set '%s': tried %s"
                            % (image_set, ', '.join(map(os.path.abspath, tried))))


def _image_folders(image_set, dataset_path):
    pictures = re.sub('^(minival|valminusminival)', 'val', re.sub('^test-dev', 'test', image_set))
    names = [os.path.join('images', image_set), os.path.join('images', pictures), image_set, pictures, 'images', '']
    return [os.path.join(dataset_path, name) for name in dict.fromkeys(names)]
