"""What reads a file of each kind. Each target gives a result or raises one of our errors."""
import os

import cv2
import mxnet as mx
import numpy as np

from lib.dataset import make_dataset, proposals, read_annotated
from lib.dataset.check.changes import plan_changes
from lib.dataset.check.page import html_page
from lib.dataset.check.report import check, set_text
from lib.dataset.imdb import append_flipped_images
from lib.errors import CheckpointError, ConfigError, DatasetError
from lib.utils.image_file import image_size, imread
from lib.utils.limits import MAX_PIXELS
from lib.utils.safe_load import load_pickle
from rfcn.checkpoints import checkpoint, states
from rfcn.checkpoints.symbol_file import load_symbol_file
from rfcn.config.config import load_config

OUR_ERRORS = (DatasetError, ConfigError, CheckpointError, FileNotFoundError)


ANNOTATIONS = {  # kind -> the file it is written to, the layout of its data set
    'xml': ('voc/Annotations/a.xml', 'PascalVOC'),
    'json': ('coco/train.json', 'coco'),
    'csv': ('csv/train.csv', 'csv'),
    'labels': ('yolo/labels/train/a.txt', 'yolo'),
}


class Targets:
    """Functions by kind, which work on files in a folder of their own."""

    def __init__(self, folder, seeds):
        self.folder = folder
        picture = np.zeros((18, 24, 3), dtype=np.uint8)
        for name in ('voc/JPEGImages/a.png', 'coco/images/a.png', 'coco/images/b.png', 'csv/a.png', 'csv/b.png',
                     'yolo/images/train/a.png'):
            cv2.imwrite(self.path(name), picture)
        self.write('voc/ImageSets/Main/train.txt', b'a\n')
        self.write('yolo/labels/train/a.txt', seeds['labels'][0])
        self.write('yolo/data.yaml', seeds['names'][0])
        self.seeds = seeds

    def path(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, data):
        with open(self.path(name), 'wb') as file:
            file.write(data)

    def run(self, kind, data):
        """Read one file; returns the name of our error, or 'read'."""
        try:
            if kind in ANNOTATIONS:
                self.annotations(data, *ANNOTATIONS[kind])
            else:
                getattr(self, kind)(data)
        except OUR_ERRORS as error:
            assert str(error), 'an error without a message'
            return type(error).__name__
        return 'read'

    def annotations(self, data, name, layout):
        self.write(name, data)
        self._data_set(layout, name.split('/')[0])

    def names(self, data):
        self.write('yolo/labels/train/a.txt', self.seeds['labels'][0])
        self.write('yolo/data.yaml', data)
        try:
            self._data_set('yolo', 'yolo')
        finally:
            self.write('yolo/data.yaml', self.seeds['names'][0])

    def _data_set(self, kind, folder):
        """The checker reads what training would refuse."""
        folder = os.path.join(self.folder, folder)
        report = check(read_annotated(kind, 'train', folder), max_pixels=MAX_PIXELS, workers=1)
        set_text(report), plan_changes(report), html_page('', '', True, [report], max_pixels=MAX_PIXELS)
        imdb = make_dataset(kind, 'train', folder)
        append_flipped_images(imdb.gt_roidb())
        imdb.evaluate_detections([[np.zeros((0, 5))] * imdb.num_images] * imdb.num_classes)

    def config(self, data):
        self.write('a.yaml', data)
        load_config(self.path('a.yaml'))

    def image(self, data):
        self.write('a.jpg', data)
        im = imread(self.path('a.jpg'))
        assert im.ndim == 3 and im.dtype == np.uint8 and image_size(self.path('a.jpg')) == im.shape[1::-1]

    def checkpoint(self, data):
        self.write('a.params', data)
        arrays = checkpoint.load_arrays(self.path('a.params'))
        for value in arrays.values():
            value.asnumpy()
        (states.load_states if 'progress' in arrays else checkpoint.load_params)(self.path('a.params'))

    def symbol(self, data):
        self.write('a-symbol.json', data)
        graph = load_symbol_file(self.path('a-symbol.json'))
        params = {name: mx.nd.ones(2) for name in ('conv_bias', 'bn_gamma', 'bn_beta')}
        params['conv_weight'] = mx.nd.ones((2, 3, 1, 1))
        moving = {'bn_moving_mean': mx.nd.zeros(2), 'bn_moving_var': mx.nd.ones(2)}
        checkpoint.check_params(graph, {'data': (1, 3, 8, 8)}, params, moving, 'a.params')

    def pickle(self, data):
        self.write('a.pkl', data)
        if isinstance(load_pickle(self.path('a.pkl')), dict):
            proposals.load_proposals(self.path('a.pkl'), ['a', 'b'])

    def mat(self, data):
        self.write('a.mat', data)
        proposals.load_proposals(self.path('a.mat'), ['a', 'b'])

    def npz(self, data):
        self.write('a.npz', data)
        proposals.load_proposals(self.path('a.npz'), ['a', 'b'])
