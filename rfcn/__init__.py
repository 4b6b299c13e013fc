"""R-FCN: object detection via region-based fully convolutional networks (Dai, Li, He, Sun, NIPS 2016), on MXNet.

Shape letters, used everywhere: B images of a batch, H x W cells of conv4, A anchors a cell, G objects of an image, R
RoIs of an image, C classes with the background at 0, k bins a side of a RoI.

Vocabulary: boxes (N, 4) as `lib/bbox/bbox_transform.py` defines them; gt_boxes (G, 5) = box, class; rois (R, 5) =
number of the image in the batch, box; dets (N, 5) = box, score; deltas are what box regression predicts; overlaps are
IoU.
"""
import os

from rfcn import _own_lib  # isort: skip  # before anything imports `lib`
from rfcn import _compat, _cuda  # before anything imports MXNet
from rfcn.precision import cpu

cpu.prepare()  # before anything imports MXNet
# Of several processes, the scheduler or a server: `rfcn.cli.script` makes it one. MXNet would do so when imported.
HELPER_ROLE = os.environ.pop('DMLC_ROLE') if os.environ.get('DMLC_ROLE') in ('scheduler', 'server') else None

__version__ = '0.1.0'
__all__ = ['Detector', 'explain', '__version__']


def __getattr__(name):
    # On demand, so that `lib` and the configuration can be used without loading MXNet.
    if name == 'Detector':
        with _compat.needing_mxnet():
            from rfcn.detector import Detector
        return Detector
    if name == 'explain':
        with _compat.needing_mxnet():
            from rfcn.explaining.decision import explain
        return explain
    raise AttributeError('module rfcn has no attribute %r' % name)
