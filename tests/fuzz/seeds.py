"""Good files of every kind, to be damaged."""
import io
import json
import os
import pickle
import tempfile

import cv2
import mxnet as mx
import numpy as np
import scipy.io

from rfcn.checkpoints import states
from rfcn.config.config import dump, load_config

SIZE = (24, 18)     # width, height of the images
_PICTURE = np.random.RandomState(0).randint(0, 255, (18, 24, 3)).astype(np.uint8)

XML = [b"""<?xml version="1.0" encoding="utf-8"?>
<annotation><filename>a.png</filename><size><width>24</width><height>18</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>11.5</xmax><ymax>12</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>5</xmin><ymin>3</ymin><xmax>20</xmax><ymax>17</ymax></bndbox></object>
</annotation>""",
       b'<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
       b'</object></annotation>']
JSON = [json.dumps({
    'images': [{'id': 1, 'file_name': 'a.png', 'width': 24, 'height': 18}, {'id': 2, 'file_name': 'b.png'}],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 7, 'name': 'dog'}],
    'annotations': [{'id': 1, 'image_id': 1, 'category_id': 7, 'bbox': [1, 2, 3.5, 4], 'area': 14, 'iscrowd': 0},
                    {'image_id': 2, 'category_id': 1, 'bbox': [1, 2, 30, 40],
                     'segmentation': [[1, 2, 3, 4, 5, 6]]}]}).encode(),
        b'{"images": [{"id": "0", "file_name": "a.png"}], "categories": [{"id": "c", "name": "cat"}], '
        b'"annotations": [{"image_id": "0", "category_id": "c", "bbox": [1, 2, 3, 4]}]}']
CSV = [b'image,x1,y1,x2,y2,class,width,height,difficult\na.png,1,2,10,11.5,cat,24,18,0\n'
       b'a.png,3,4,20,16,dog,24,18,1\nb.png,,,,,,,,\n',
       b'a.png;1;2;10;11;cat\nb.png;3;4;9;9;"do""g"\n']
YOLO_LABELS = [b'0 0.5 0.5 0.25 0.5\n1 0.3 0.4 0.2 0.2\n', b'1 0.1 0.1 0.9 0.1 0.9 0.9\n\n0 0.5 0.5 1 1']
YOLO_NAMES = [b'path: .\ntrain: images/train\nval: [images/val, other.txt]\nnc: 2\nnames:\n  0: cat\n  1: dog\n',
              b'names: [cat, dog]\n']


def _images():
    with_alpha = np.dstack([_PICTURE, _PICTURE[:, :, 0]])
    kinds = [('.jpg', _PICTURE, []), ('.jpg', _PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), ('.png', _PICTURE, []),
             ('.png', with_alpha, []), ('.png', _PICTURE[:, :, 0].astype(np.uint16) * 257, []), ('.bmp', _PICTURE, []),
             ('.tif', _PICTURE, []), ('.tif', _PICTURE.astype(np.uint16) * 257, []), ('.webp', _PICTURE, []),
             ('.webp', with_alpha, [cv2.IMWRITE_WEBP_QUALITY, 101]), ('.ppm', _PICTURE, []),
             ('.pgm', _PICTURE[:, :, 0], [])]
    return [cv2.imencode(extension, im, options)[1].tobytes() for extension, im, options in kinds]


def _mxnet_files():
    """A checkpoint, and a training state."""
    params = {'arg:conv_weight': mx.nd.arange(24).reshape((4, 6)), 'arg:conv_bias': mx.nd.ones(4),
              'aux:bn_moving_mean': mx.nd.ones(3, dtype='float64')}
    with tempfile.TemporaryDirectory() as folder:
        paths = os.path.join(folder, 'a.params'), os.path.join(folder, 'a.states')
        mx.nd.save(paths[0], params)
        progress = states.Progress(1, 2, 3, 4, 0.5, 6, 7, 8, 9, 10)
        states.save_states(paths[1], {'conv_weight': mx.nd.ones((4, 6))}, progress)
        return [open(path, 'rb').read() for path in paths]


def small_graph():
    """A convolution, and what is made of its channels."""
    layer = mx.sym.Convolution(mx.sym.Variable('data'), num_filter=2, kernel=(1, 1), name='conv')
    layer = mx.sym.Activation(mx.sym.BatchNorm(layer, name='bn'), act_type='relu', name='relu')
    return mx.sym.split(layer, num_outputs=2, name='halves')[1]


def _graphs():
    """As it is, and fused: a graph within a graph."""
    return [graph.tojson().encode() for graph in (small_graph(), small_graph().get_backend_symbol('MKLDNN_QUANTIZE'))]


def _pickles():
    boxes = [[[], []], [np.arange(10, dtype=np.float32).reshape(2, 5), np.zeros((0, 5))]]
    return [pickle.dumps(boxes, protocol)
            for protocol in (0, 2, 4, 5)] + [pickle.dumps({'a': np.arange(4.).reshape(1, 4), 'b': boxes[1][0]}, 2)]


def _archives():
    files = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, index=np.array(['a', 'b']), counts=np.array([1, 2]), dets=np.ones((3, 5), dtype=np.float32))
        files.append(file.getvalue())
    return files


def _matlab_files():
    """Proposals as selective search and EdgeBoxes store them, with MATLAB's save -v6 and -v7."""
    boxes, names = np.empty(2, dtype=object), np.empty(2, dtype=object)
    boxes[:], names[:] = [np.ones((2, 4), dtype=np.uint16), np.zeros((0, 4))], ['a', 'b']
    found = np.empty((2, 1), dtype=object)
    found[:, 0] = [np.ones((3, 5)), np.ones((1, 5))]
    files = []
    for content, options in (({'boxes': boxes, 'images': names}, {}), ({'bbs': found}, {}),
                             ({'boxes': boxes, 'images': names}, {'do_compression': True}),
                             ({'bbs': found}, {'do_compression': True})):
        file = io.BytesIO()
        scipy.io.savemat(file, content, **options)
        files.append(file.getvalue())
    return files


def _configs():
    return [dump(load_config()).encode(),
            b'TRAIN:\n  lr: 0.001\n  lr_step: "2,4.5"\nSCALES: [[600, 1000], [400, 800]]\n'
            b'dataset:\n  CLASSES: [a, b]\n']


def all_seeds():
    """Kind -> list of bytes."""
    return {'xml': XML, 'json': JSON, 'csv': CSV, 'labels': YOLO_LABELS, 'names': YOLO_NAMES, 'config': _configs(),
            'image': _images(),
            'checkpoint': _mxnet_files(), 'pickle': _pickles(), 'npz': _archives(), 'mat': _matlab_files(),
            'symbol': _graphs()}
