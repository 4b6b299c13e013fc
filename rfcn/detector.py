"""The public Python API: objects in an image.

    from rfcn import Detector
    detector = Detector('config.yaml', 'rfcn_voc-0007.params')
    for found in detector.detect('street.jpg'):
        print(found.class_name, found.score, found.box)

    for found in detector.detect_many(paths):
        ...
    picture = detector.draw('street.jpg')       # (H, W, 3) uint8 BGR
"""
from __future__ import annotations

import logging
import math
import os
from typing import Any, Iterable, Iterator, NamedTuple, Sequence

import numpy as np

from lib.dataset.annotations import BACKGROUND
from lib.errors import DatasetError
from lib.utils.console import listed
from lib.utils.image import network_input
from lib.utils.image_file import as_bgr, imread
from lib.utils.show_boxes import draw_detections
from rfcn import data_sets, inference
from rfcn.config.config import Config, load_config, with_overrides
from rfcn.core.detect import NETWORK_LOCK, View, detect_batches
from rfcn.core.image_loaders import detection_scales
from rfcn.core.loader import Batch
from rfcn.core.pipeline import in_threads

logger = logging.getLogger(__name__)

# A path, a (H, W, 3) uint8 array or one of the other kinds that `Detector.detect` lists.
Image = Any


class Detection(NamedTuple):
    """One object.

    class_name: str. score: in 0..1. box: (4,) float32 x1, y1, x2, y2 in pixels of the image, both corners inside.
    """

    class_name: str
    score: float
    box: np.ndarray


def as_detections(by_class: Sequence[np.ndarray], classes: Sequence[str]) -> list[Detection]:
    """(n, 5) boxes and scores of each class -> list of Detection, best first."""
    found = [Detection(classes[c], float(row[4]), np.asarray(row[:4], dtype=np.float32))
             for c in range(1, len(classes)) for row in by_class[c]]
    return sorted(found, key=lambda detection: -detection.score)


class Detector:
    """Finds objects with a trained network.

    A Detector may be used by several threads at once. Reading and resizing images and choosing the detections go on in
    parallel; the network runs for one image at a time in a process, on all cores (or on its GPU), so several threads
    make a program simpler and not the network faster. For several GPUs start a process for each.

    Copied or pickled, it is its configuration and the path of its parameters, which are read again: hand it to another
    process once, at its start, and not with each image.

    Args:
        cfg: path of a YAML file, or a loaded configuration; best the config.yaml that training wrote, which has the
            class names.
        params: path of a checkpoint, `.params`.
        overrides: 'KEY=VALUE' texts on top of a YAML file.
    Raises:
        FileNotFoundError, ConfigError, CheckpointError.
    """

    def __init__(self, cfg: Config | str | os.PathLike, params: str | os.PathLike, overrides: Sequence[str] = ()):
        cfg = load_config(cfg, overrides) if isinstance(cfg, (str, os.PathLike)) else cfg
        self.cfg = with_overrides(data_sets.with_classes(cfg, params),
                                  {'TEST.BATCH_IMAGES': 1, 'gpus': str(cfg.gpus).split(',')[0]})
        self.classes: tuple[str, ...] = (BACKGROUND,) + tuple(self.cfg.dataset.CLASSES)
        self.params = str(params)
        self._file = os.path.abspath(params)    # for copies that are made after a change of folder
        with NETWORK_LOCK:
            self.predictor = inference.predictor(self.cfg, self.params)

    def __reduce__(self):
        return Detector, (self.cfg, self._file)

    def detect(self, image: Image, score_thresh: float | None = None, rgb: bool = False) -> list[Detection]:
        """The objects of an image, best first.

        Args:
            image: path of a file; or an array of uint8, (H, W, 3) in the order BGR as OpenCV reads it, (H, W, 4) with
                an alpha channel, which is dropped, (H, W) or (H, W, 1) grey; or a PIL image of 8 bits a channel.
                Pixels are taken as stored: EXIF orientation is ignored, as in training.
            score_thresh: lowest score, 0 to 1; `TEST.SCORE_THRESH` by default.
            rgb: an array's channels are in the order RGB(A). PIL images and files say their order themselves.
        Raises:
            FileNotFoundError, DatasetError: there is no such image, or it cannot be read.
            ValueError: an array of another shape or dtype (the message says what is expected), or a bad threshold.
        """
        return as_detections(self.detect_by_class(image, score_thresh, rgb), self.classes)

    def detect_by_class(self, image: Image, score_thresh: float | None = None,
                        rgb: bool = False) -> list[np.ndarray]:
        """The same as a list over classes of (n, 5) boxes and scores; class 0, the background, is empty."""
        return next(self.detect_each([image], score_thresh, rgb=rgb))[1]

    def detect_many(self, images: Iterable[Image], score_thresh: float | None = None, skip_bad: bool = False,
                    rgb: bool = False) -> Iterator[list[Detection] | None]:
        """The objects of many images: yields, in order, what `detect` returns for each, and reads ahead.

        Args:
            images: iterable of what `detect` takes; it may be endless. score_thresh, rgb: see there.
            skip_bad: an image that cannot be read is logged and gives None; without this it raises.
        """
        for image, by_class in self.detect_each(images, score_thresh, skip_bad, rgb):
            yield None if image is None else as_detections(by_class, self.classes)

    def detect_each(self, images: Iterable[Image], score_thresh: float | None = None, skip_bad: bool = False,
                    rgb: bool = False) -> Iterator[tuple[np.ndarray | None, list[np.ndarray]]]:
        """`detect_many` for those who need the pixels: yields an image's (H, W, 3) BGR array and `detect_by_class`.

        The images to come are read, and the detections of those that were seen are chosen, while the network sees one.
        With `skip_bad`, an image that cannot be read comes as None, [].

        Raises:
            ValueError: `images` is one image.
        """
        check_several(images)
        settings = inference.nms_settings(self.cfg)
        if score_thresh is not None:
            settings['thresh'] = checked_thresh(score_thresh)
        read = in_threads(self._inputs, ((image, skip_bad, rgb) for image in images), ahead=2)
        batches = ((image, [self._view(image, *view) for view in inputs]) for image, inputs in read)
        return ((image, by_class[0] if by_class else [])
                for image, by_class in detect_batches(self.predictor, batches, **settings))

    def draw(self, image: Image, found: Sequence[Detection] | None = None, score_thresh: float = 0.5,
             rgb: bool = False) -> np.ndarray:
        """The image with boxes, class names and scores drawn on it.

        Args:
            image, rgb: see `detect`.
            found: detections; by default those that `detect` finds.
            score_thresh: lowest score that is drawn.
        Returns:
            (H, W, 3) uint8 BGR, a new array.
        """
        image = self.array_of(image, rgb)
        by_class: list[list[np.ndarray]] = [[] for _ in self.classes]
        for detection in self.detect(image, score_thresh) if found is None else found:
            by_class[self.class_number(detection.class_name)].append(np.append(detection.box, detection.score))
        return draw_detections(image, by_class, self.classes, checked_thresh(score_thresh))

    def class_number(self, class_name: str) -> int:
        """The number of a class, from 1 on. Raises a ValueError that tells all of them where there is no such class."""
        if class_name not in self.classes[1:]:
            raise ValueError('no class is called %r; there are %s' % (class_name, listed(self.classes[1:])))
        return self.classes.index(class_name)

    def array_of(self, image: Image, rgb: bool = False) -> np.ndarray:
        """The (H, W, 3) uint8 BGR array of what `detect` takes. Raises as `detect`."""
        is_content = isinstance(image, bytes) and b'\0' in image       # which no path holds
        if isinstance(image, (str, bytes, os.PathLike)) and not is_content:
            return imread(os.fsdecode(image), max_pixels=self.cfg.dataset.MAX_PIXELS)
        return as_bgr(image, rgb, max_pixels=self.cfg.dataset.MAX_PIXELS)

    def _inputs(self, image, skip_bad, rgb):
        """The image as an array, and the network's input for each of its views: tensor, im_info, mirrored or not."""
        try:
            image = self.array_of(image, rgb)
        except (DatasetError, FileNotFoundError) as error:
            if not skip_bad:
                raise
            logger.warning('skipped: %s', error)
            return None, ()
        mirrors = (False, True) if self.cfg.TEST.FLIP else (False,)
        return image, [self.network_input(image, scale, mirror)
                       for scale in detection_scales(self.cfg) for mirror in mirrors]

    def network_input(self, image: np.ndarray, scale: Sequence[int],
                      mirror: bool = False) -> tuple[np.ndarray, np.ndarray, bool]:
        """What the network sees of an image at a scale (shorter side, longest side).

        Returns:
            tensor (1, 3, H, W) float32, im_info (1, 3) float32, `mirror`.
        """
        network = self.cfg.network
        tensor, im_info = network_input(image[:, ::-1] if mirror else image, *scale, network.IMAGE_STRIDE,
                                        network.PIXEL_MEANS)
        return tensor, im_info[None], mirror

    @staticmethod
    def _view(image, tensor, im_info, mirror):
        with NETWORK_LOCK:      # the seed is the same for each call, whoever calls
            batch = Batch(dict(data=tensor, im_info=im_info), seeds=[0])
        return View(batch, 1, [image.shape[1] if mirror else None])


def check_several(images: Iterable[Image]) -> None:
    """Raise a ValueError where one image is given in the place of several: letters and rows can be iterated, too."""
    is_picture = isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (3, 4)
    if is_picture or isinstance(images, (str, bytes, os.PathLike)):
        raise ValueError('images: expected several, such as a list of paths, found one %s: write [image]; of a folder '
                         "sorted(pathlib.Path(folder).glob('*.jpg'))" % type(images).__name__)


def checked_thresh(score_thresh: float) -> float:
    """The threshold, or a ValueError where it is no number from 0 to 1."""
    if isinstance(score_thresh, (int, float, np.number)) and 0 <= score_thresh <= 1 and math.isfinite(score_thresh):
        return float(score_thresh)
    raise ValueError('score_thresh: expected a number from 0 to 1, found %r' % (score_thresh,))
