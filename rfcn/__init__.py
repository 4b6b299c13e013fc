"""R-FCN: object detection via region-based fully convolutional networks (Dai, Li, He, Sun, NIPS 2016), on MXNet.

Shape letters, used everywhere: B images of a batch, H x W cells of conv4, A anchors per cell, G objects of an image, R
RoIs of an image, C classes with the background at 0, k bins per side of a RoI.

Vocabulary: boxes (N, 4) as `lib/bbox/bbox_transform.py` defines them; gt_boxes (G, 5) = box, class; rois (R, 5) =
number of the image in the batch, box; dets (N, 5) = box, score; deltas are what box regression predicts; overlaps are
IoU.
"""
from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def use_own_lib(folder: Path) -> None:
    """Load the package `lib` from a folder, under this name.

    In the project's folder it is the one beside `rfcn`, whatever a folder of that name in the current one holds. An
    installed copy has it inside, as `rfcn.lib`, and needs none of this.

    Raises:
        ImportError: another package `lib` is loaded already.
    """
    loaded = sys.modules.get('lib')
    if loaded is None:
        spec = importlib.util.spec_from_file_location('lib', str(folder / '__init__.py'),
                                                      submodule_search_locations=[str(folder)])
        sys.modules['lib'] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules['lib'])
        return
    place = list(getattr(loaded, '__path__', None) or [loaded.__file__])[0]     # a file lib.py has no path of packages
    if Path(place).resolve() != folder:
        raise ImportError('rfcn in the folder %s needs the package lib beside it, but %s is loaded under this name. '
                          'Install a copy, which brings its own: pip install %s'
                          % (folder.parent, place, folder.parent))


if not (HERE / 'lib').is_dir():
    use_own_lib(HERE.parent / 'lib')

from rfcn import _compat  # before anything imports MXNet
from rfcn.precision import cpu

cpu.prepare()  # before anything imports MXNet
# Of several processes, the scheduler or a server: `rfcn.cli.script` makes it one. MXNet would do so when imported.
HELPER_ROLE = os.environ.pop('DMLC_ROLE') if os.environ.get('DMLC_ROLE') in ('scheduler', 'server') else None

__version__ = '0.1.0'
__all__ = ['Detector', 'explain', '__version__']
ON_DEMAND = {'Detector': 'rfcn.detector', 'explain': 'rfcn.explaining.decision'}


def __dir__():
    return sorted([*globals(), *ON_DEMAND])     # for who completes names


def __getattr__(name):
    # On demand, so that `lib` and the configuration can be used without loading MXNet.
    if name in ON_DEMAND:
        with _compat.needing_mxnet():
            return getattr(importlib.import_module(ON_DEMAND[name]), name)
    raise AttributeError('module rfcn has no attribute %r' % name)
