"""The recorder, in stand-ins for a checkout of the original: modules of the same names and interfaces.

The stand-ins of single functions are written here from FORMAT.md's words alone, so that recorder, format and comparison
are checked against each other; they and the recorder also run under Python 2, where one with NumPy is at hand.
"""
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import compare_release
from experiments.compare import recorder
from tests.conftest import numpy_names

ROOT = Path(__file__).resolve().parents[2]
CFG = 'resnet_v1_50_voc0712_rfcn_end2end_ohem.yaml'

BBOX_TRANSFORM = '''
import numpy as np


def corners(boxes):
    return [boxes[:, i] for i in range(4)]


def bbox_overlaps(boxes, query):
    result = np.zeros((len(boxes), len(query)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(query):
            width = min(a[2], b[2]) - max(a[0], b[0]) + 1
            height = min(a[3], b[3]) - max(a[1], b[1]) + 1
            if width > 0 and height > 0:
                areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
                result[i, j] = width * height / (sum(areas) - width * height)
    return result


def centred(boxes):
    x1, y1, x2, y2 = corners(boxes)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return x1 + 0.5 * (width - 1), y1 + 0.5 * (height - 1), width, height


def nonlinear_transform(boxes, gt):
    x, y, width, height = centred(boxes)
    gx, gy, gwidth, gheight = centred(gt)
    return np.stack([(gx - x) / (width + 1e-14), (gy - y) / (height + 1e-14), np.log(gwidth / width),
                     np.log(gheight / height)], axis=1)


def nonlinear_pred(boxes, deltas):
    if len(boxes) == 0:
        return np.zeros((0, deltas.shape[1]))
    x, y, width, height = centred(boxes.astype(float))
    result = np.zeros(deltas.shape)
    for k in range(0, deltas.shape[1], 4):
        cx, cy = deltas[:, k] * width + x, deltas[:, k + 1] * height + y
        w, h = np.exp(deltas[:, k + 2]) * width, np.exp(deltas[:, k + 3]) * height
        for i, value in enumerate((cx - 0.5 * (w - 1), cy - 0.5 * (h - 1), cx + 0.5 * (w - 1), cy + 0.5 * (h - 1))):
            result[:, k + i] = value
    return result


def clip_boxes(boxes, im_shape):
    for i in range(4):
        boxes[:, i::4] = np.clip(boxes[:, i::4], 0, im_shape[1 - i % 2] - 1)
    return boxes
'''
NMS = '''
import numpy as np


def nms(dets, thresh):
    order, keep = list(np.argsort(-dets[:, 4], kind='mergesort')), []
    one = dets.dtype.type(1)
    while order:
        best = order.pop(0)
        keep.append(best)
        rest = []
        for other in order:
            a, b = dets[best], dets[other]
            width = max(dets.dtype.type(0), min(a[2], b[2]) - max(a[0], b[0]) + one)
            height = max(dets.dtype.type(0), min(a[3], b[3]) - max(a[1], b[1]) + one)
            areas = [(box[2] - box[0] + one) * (box[3] - box[1] + one) for box in (a, b)]
            if width * height / (areas[0] + areas[1] - width * height) <= dets.dtype.type(thresh):
                rest.append(other)
        order = rest
    return keep
'''
GENERATE_ANCHOR = '''
import numpy as np


def generate_anchors(base_size, ratios, scales):
    centre, anchors = (base_size - 1) / 2.0, []
    for ratio in ratios:
        width = np.round(np.sqrt(base_size * base_size / float(ratio)))
        height = np.round(width * ratio)
        for scale in scales:
            w, h = width * scale, height * scale
            anchors.append([centre - (w - 1) / 2, centre - (h - 1) / 2, centre + (w - 1) / 2, centre + (h - 1) / 2])
    return np.array(anchors, dtype=float)
'''
# Whole networks: this project's own, behind the original's interface.
CONFIG = '''
from easydict import EasyDict
from rfcn.config.config import load_config, thaw

config = EasyDict()


def update_config(path):
    config.update(EasyDict(thaw(load_config(path))))
    config.path = path
'''
SYMBOL = '''
from rfcn.config.config import load_config, with_overrides
from rfcn.symbols import make_symbol


class resnet_v1_50_rfcn(object):
    def get_symbol(self, cfg, is_train=True):
        changes = {'TEST.CXX_PROPOSAL': cfg.TEST.CXX_PROPOSAL,
                   'TEST.RPN_POST_NMS_TOP_N': cfg.TEST.RPN_POST_NMS_TOP_N,
                   'TRAIN.RPN_POST_NMS_TOP_N': cfg.TRAIN.RPN_POST_NMS_TOP_N,
                   'TRAIN.BATCH_ROIS_OHEM': cfg.TRAIN.BATCH_ROIS_OHEM}
        return make_symbol(with_overrides(load_config(cfg.path), changes)).get_symbol(is_train)
'''
RPN = '''
import numpy as np

from lib.rpn.anchors import as_blobs, assign_anchor as ours
from lib.rpn.anchors import generate_anchors, shifted_anchors


def assign_anchor(feat_shape, gt_boxes, im_info, cfg, feat_stride, scales, ratios, allowed_border=0):
    height, width = feat_shape[2:]
    anchors = shifted_anchors(height, width, feat_stride, generate_anchors(feat_stride, ratios, scales))
    return as_blobs(*ours(anchors, gt_boxes, im_info[0, :2], rng=np.random), height, width)
'''


@pytest.fixture
def checkout(tmp_path):
    """The folder rfcn of a stand-in, with the recorder in it."""
    files = {'lib/bbox/bbox_transform.py': BBOX_TRANSFORM, 'lib/nms/nms.py': NMS,
             'lib/rpn/generate_anchor.py': GENERATE_ANCHOR, 'lib/rpn/rpn.py': RPN, 'rfcn/config/config.py': CONFIG,
             'rfcn/symbols/resnet_v1_50_rfcn.py': SYMBOL}
    for name, text in files.items():
        path = tmp_path / 'checkout' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / '__init__.py').touch()
    shutil.copy(recorder.__file__, str(tmp_path / 'checkout' / 'rfcn' / 'recorder.py'))
    return tmp_path / 'checkout' / 'rfcn'


def record(checkout, *words, python=sys.executable, **environment):
    """Run it there. Returns the folder of vectors and what it printed."""
    out, names = checkout.parent / 'vectors', checkout.parent / 'names'
    if python == sys.executable:    # where the original ran, NumPy had the names that MXNet needs
        names.mkdir(exist_ok=True)
        (names / 'sitecustomize.py').write_text(numpy_names())
        environment['PYTHONPATH'] = os.pathsep.join([str(names), environment.get('PYTHONPATH', '')])
    printed = subprocess.run([python, 'recorder.py', '--out', str(out)] + list(words), cwd=str(checkout), check=True,
                             stdout=subprocess.PIPE, env=dict(os.environ, **environment)).stdout.decode()
    return out, printed


def compared(folder):
    """Whether the comparison passes, and its lines."""
    stream = io.StringIO()
    passed = compare_release.compare_release(folder, stream=stream)
    return passed, stream.getvalue().splitlines()


def test_functions_are_recorded_and_equal_ours(checkout):
    out, printed = record(checkout, '--only', 'anchors', 'boxes', 'nms')
    lines = [line for line in printed.splitlines() if line.startswith('recorded')]
    assert lines == ['recorded anchors', 'recorded boxes', 'recorded nms']
    assert 'nms: the Cython rule is left out' in printed
    passed, rows = compared(out)
    assert passed and '0 FALLS SHORT, 0 NOT UNDERSTOOD, 0 left out' in rows[-1], '\n'.join(rows)
    assert len(rows) > 30


def test_a_stand_in_that_computes_something_else_falls_short(checkout):
    path = checkout.parent / 'lib' / 'nms' / 'nms.py'
    path.write_text(path.read_text().replace('<= dets', '<= 0.9 * dets'))
    passed, rows = compared(record(checkout, '--only', 'nms')[0])
    assert not passed and any('FALLS SHORT' in row for row in rows[1:-1])


def test_a_network_is_recorded_and_equals_ours(checkout):
    out, _ = record(checkout, '--only', 'net', '--cfg', str(ROOT / 'experiments' / 'rfcn' / 'cfgs' / CFG),
                    PYTHONPATH=str(ROOT))
    assert json.loads((out / 'net_recorded.json').read_text())['config'] == CFG
    passed, rows = compared(out)
    assert passed and '0 FALLS SHORT, 0 NOT UNDERSTOOD' in rows[-1], '\n'.join(rows)
    assert any('gradients, l2' in row for row in rows) and any('test_py_rois' in row for row in rows)


def test_the_recorder_has_the_parameters_of_the_comparison():
    from experiments.compare.networks import make_parameter
    for name, shape in (('rfcn_cls_weight', (3, 2, 1, 1)), ('res5b_branch2b_offset_weight', (2, 2, 3, 3)),
                        ('rfcn_cls_offset_t_weight', (2, 3, 1, 1)), ('bn5c_branch2c_gamma', (4,)),
                        ('bn_conv1_moving_var', (4,)), ('bn2a_branch1_moving_mean', (3,)), ('rfcn_bbox_bias', (3,))):
        np.testing.assert_array_equal(recorder.parameter(name, shape), make_parameter(name, shape, recorder.SALT), name)


def python2_with_numpy():
    """An interpreter, or None. RFCN_PYTHON2 names one."""
    candidates = [os.environ.get('RFCN_PYTHON2'), 'python2.7', 'python2'] + [
        str(path) for path in Path.home().glob('.pyenv/versions/2.7*/bin/python2.7')]
    for python in filter(None, candidates):
        try:
            if subprocess.run([python, '-c', 'import numpy'], stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            pass
    return None


def test_functions_are_recorded_by_python_2_too(checkout):
    python = python2_with_numpy()
    if python is None:
        pytest.skip('no Python 2 with NumPy here')
    passed, rows = compared(record(checkout, '--only', 'anchors', 'boxes', 'nms', python=python)[0])
    assert passed and '0 FALLS SHORT, 0 NOT UNDERSTOOD' in rows[-1], '\n'.join(rows)
