"""The public Python API: objects in an image.

    from rfcn import Detector
    detector = Detector('config.yaml', 'rfcn_voc-0007.params')
    for found in detector.detect('street.jpg'):
        print(found.class_name, found.score, found.box)
"""
import logging
from collections import namedtuple

import mxnet as mx
import numpy as np

from lib.errors import DatasetError
from lib.rcnn.detection import per_class_nms
from lib.rcnn.merge import merge_views
from lib.utils.image import imread, pad_to_stride, resize, transform
from rfcn import build
from rfcn.config.config import load_config, with_overrides
from rfcn.core.pipeline import in_threads
from rfcn.core.tester import image_candidates
from rfcn.evaluate import nms_settings

logger = logging.getLogger(__name__)
Detection = namedtuple('Detection', 'class_name score box')
Detection.__doc__ = 'One object: class_name str, score in 0..1, box (4,) float32 x1, y1, x2, y2 in pixels of the image.'


def as_detections(by_class, classes, score_thresh=0.0):
    """(n, 5) boxes and scores of each class -> list of Detection, best first."""
    found = [Detection(classes[c], float(row[4]), np.asarray(row[:4], dtype=np.float32))
             for c in range(1, len(classes)) for row in by_class[c] if row[4] >= score_thresh]
    return sorted(found, key=lambda detection: -detection.score)


class Detector(object):
    """Finds objects with a trained network.

    Args:
        cfg: path of a YAML file, or a loaded configuration; best the config.yaml that training wrote, which has the
            class names.
        params: path of a checkpoint, `.params`.
        overrides: 'KEY=VALUE' texts on top of a YAML file.
    Raises:
        FileNotFoundError, ConfigError, CheckpointError.
    """

    def __init__(self, cfg, params, overrides=()):
        cfg = load_config(cfg, overrides) if isinstance(cfg, str) or hasattr(cfg, '__fspath__') else cfg
        self.cfg = with_overrides(build.with_classes(cfg),
                                  {'TEST.BATCH_IMAGES': 1, 'gpus': str(cfg.gpus).split(',')[0]})
        self.classes = ('__background__',) + tuple(self.cfg.dataset.CLASSES)
        self.predictor = build.predictor(self.cfg, str(params))

    def detect(self, image, score_thresh=None):
        """The objects of an image, best first.

        Args:
            image: path, or (H, W, 3) uint8 BGR as OpenCV reads it.
            score_thresh: lowest score; `TEST.SCORE_THRESH` by default.
        Returns:
            list of Detection.
        Raises:
            FileNotFoundError, DatasetError: there is no such image, or it cannot be read.
            ValueError: an array of another shape or dtype.
        """
        return as_detections(self.detect_by_class(image, score_thresh), self.classes)

    def detect_by_class(self, image, score_thresh=None):
        """The same as a list over classes of (n, 5) boxes and scores; class 0, the background, is empty."""
        return next(self.detect_each([image], score_thresh))[1]

    def detect_each(self, images, score_thresh=None, skip_bad=False):
        """Many images: yields, in order, each as an array and what `detect_by_class` returns for it.

        The images to come are read, and the detections of those that were seen are chosen, while the network sees one.

        Args:
            images: iterable of what `detect` takes. score_thresh: see there.
            skip_bad: an image that cannot be read is logged and comes as None, []; without this it ends them all.
        """
        settings = nms_settings(self.cfg)
        if score_thresh is not None:
            settings['thresh'] = score_thresh
        read = in_threads(self._inputs, ((image, skip_bad) for image in images), ahead=2)
        seen = ((image, [self._view(image, *view) for view in views]) for image, views in read)
        return in_threads(lambda image, views: (image, views and per_class_nms(*merge_views(views), **settings)), seen)

    def _array(self, image):
        if isinstance(image, str) or hasattr(image, '__fspath__'):
            return imread(image, max_pixels=self.cfg.dataset.MAX_PIXELS)
        if not (isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8):
            raise ValueError('an image is a path or a (height, width, 3) uint8 array in BGR order, not %s'
                             % (getattr(image, 'shape', type(image).__name__),))
        return image

    def _inputs(self, image, skip_bad):
        """The image as an array, and the network's input for each of its views: tensor, im_info, mirrored or not."""
        try:
            image = self._array(image)
        except (DatasetError, FileNotFoundError) as error:
            if not skip_bad:
                raise
            logger.warning('skipped (on_bad_image: skip): %s', error)
            return None, ()
        mirrors = (False, True) if self.cfg.TEST.FLIP else (False,)
        return image, [self._input(image, scale, mirror) for scale in build.test_scales(self.cfg) for mirror in mirrors]

    def _input(self, image, scale, mirror):
        resized, factor = resize(image[:, ::-1] if mirror else image, *scale)
        tensor = transform(pad_to_stride(resized, self.cfg.network.IMAGE_STRIDE),
                           np.array(self.cfg.network.PIXEL_MEANS))
        return tensor, np.array([resized.shape[:2] + (factor,)], dtype=np.float32), mirror

    def _view(self, image, tensor, im_info, mirror):
        """(scores, boxes, mirrored width) of a view of the image; see `merge_views`."""
        arrays = [('data', tensor), ('im_info', im_info)]
        batch = mx.io.DataBatch(data=[mx.nd.array(a) for _, a in arrays], label=[],
                                provide_data=[mx.io.DataDesc(name, a.shape) for name, a in arrays])
        scores, boxes = image_candidates(self.predictor.predict(batch), im_info, 1)[0]
        return scores, boxes, image.shape[1] if mirror else None
