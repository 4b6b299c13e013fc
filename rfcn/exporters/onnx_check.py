"""Runs an ONNX file beside MXNet on the same pictures and compares what they find."""
import importlib.util
import time
from typing import NamedTuple

import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps
from rfcn.core.detect import View, choose_detections
from rfcn.core.image_loaders import detection_scales
from rfcn.core.loader import Batch
from rfcn.exporters.onnx_file import DETECTION_OUTPUTS, RAW_OUTPUTS
from rfcn.inference import nms_settings

ROI_LIMIT = 0.01            # pixels of the network's input
PROBABILITY_LIMIT = 1e-4
BOX_LIMIT = 0.1             # pixels of the image: a detection is the same if its box and its score are that close
TIE_LIMIT = 1e-6            # scores that differ by less are equal up to rounding
RUNTIMES = {'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}


class Comparison(NamedTuple):
    """What a runtime gave beside MXNet, over all pictures."""
    runtime: str
    rois: float             # largest difference in pixels; None where the file ends in detections
    probabilities: float    # the same of the probabilities
    found: int              # MXNet's detections
    same: int               # those of them that the runtime has too
    extra: int              # those that it alone has
    missing_ties: int       # of what MXNet alone has, that which follows from equal scores (`_from_ties`)
    extra_ties: int         # of what the runtime alone has
    seconds: float          # for a picture, the fastest of the repetitions
    mxnet_seconds: float

    @property
    def equal(self) -> bool:
        """Whether all differences are within the limits."""
        close = self.rois is None or (self.rois <= ROI_LIMIT and self.probabilities <= PROBABILITY_LIMIT)
        return close and self.same + self.missing_ties == self.found and self.extra == self.extra_ties

    def __str__(self):
        parts = [] if self.rois is None else ['RoIs differ by up to %.2g px, probabilities by up to %.2g'
                                              % (self.rois, self.probabilities)]
        parts.append('%d of %d detections are the same%s'
                     % (self.same, self.found, ', %d more' % self.extra if self.extra else ''))
        if self.missing_ties or self.extra_ties:
            parts.append('of these differences, %d of %d follow from overlapping detections of equal score'
                         % (self.missing_ties + self.extra_ties, self.found - self.same + self.extra))
        parts.append('%.3f s a picture, MXNet %.3f s' % (self.seconds, self.mxnet_seconds))
        return '%s %s MXNet: %s' % (RUNTIMES[self.runtime], 'equals' if self.equal else 'DIFFERS from',
                                    '; '.join(parts))


def installed_runtimes():
    """Those of RUNTIMES that can be imported."""
    return [name for name in RUNTIMES if importlib.util.find_spec(name)]


def compare(detector, path: str, images, runtime: str, repeat: int = 1) -> Comparison:
    """Run a file and the detector that it was made of.

    Args:
        detector: `rfcn.Detector`. path: of the file. images: list of (H, W, 3) uint8 BGR. runtime: of RUNTIMES.
        repeat: how often each picture is timed.
    """
    run = _RUNNERS[runtime](path)
    scale = detection_scales(detector.cfg)[0]
    settings = nms_settings(detector.cfg)
    rows = []
    for image in images:
        data, im_info, _ = detector.network_input(image, scale)
        batch = Batch(dict(data=data, im_info=im_info))
        expected, mxnet_seconds = _timed(lambda: detector.predictor.predict(batch), repeat)
        found, seconds = _timed(lambda: run(data, im_info), repeat)
        view = [View(batch, 1, [None])]
        wanted = choose_detections(view, [expected], **settings)[0]
        differences = None, None
        if set(found) == set(RAW_OUTPUTS):
            differences = _differences(expected, found)
            given = choose_detections(view, [found], **settings)[0]
        else:
            given = _by_class(found, len(detector.classes))
        rows.append(differences + same_detections(wanted, given, settings['nms_thresh']) + (seconds, mxnet_seconds))
    rois, probabilities, *counts, seconds, mxnet_seconds = zip(*rows)
    raw = rois[0] is not None
    return Comparison(runtime, max(rois) if raw else None, max(probabilities) if raw else None, *map(sum, counts),
                      float(np.mean(seconds)), float(np.mean(mxnet_seconds)))


def _onnxruntime(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return lambda data, im_info: dict(zip(names, session.run(None, {'data': data, 'im_info': im_info})))


def _openvino(path):
    import openvino
    # By itself it computes in bf16 where the processor can.
    model = openvino.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    names = [next(name for name in RAW_OUTPUTS + DETECTION_OUTPUTS if name in output.names)
             for output in model.outputs]

    def run(data, im_info):
        found = model({'data': data, 'im_info': im_info})
        return {name: np.array(found[output]) for name, output in zip(names, model.outputs)}
    return run


_RUNNERS = {'onnxruntime': _onnxruntime, 'openvino': _openvino}


def _timed(function, repeat):
    """The result and the seconds of the fastest of `repeat` calls, after one that does not count."""
    result, fastest = function(), float('inf')
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        fastest = min(fastest, time.perf_counter() - start)
    return result, fastest


def _differences(expected, found):
    """Largest difference of RoIs and of probabilities; each RoI is compared with the nearest of the other side.

    Two RoIs whose scores are equal to the last digit may stand in either order.
    """
    distances = np.abs(found['rois'][:, None].astype(np.float64) - expected['rois'][None]).max(axis=2)
    nearest = distances.argmin(axis=1)
    probabilities = np.abs(found['cls_prob'][0] - expected['cls_prob'][0][nearest]).max()
    return float(max(distances.min(axis=1).max(), distances.min(axis=0).max())), float(probabilities)


def _by_class(found, num_classes):
    boxes, scores, classes = (found[name] for name in DETECTION_OUTPUTS)
    dets = np.hstack((boxes, scores[:, None]))
    return [dets[classes == number] for number in range(num_classes)]


def same_detections(wanted, given, nms_thresh):
    """How many detections are wanted, given too, given beyond them; how many of the missing and extra ones are ties.

    Args:
        wanted, given: lists over classes of (n, 5).
    """
    same = missing_ties = extra_ties = 0
    for of_class, others in zip(wanted, given):
        missing = []
        for row in of_class:
            distance = np.abs(others - row)
            close = np.flatnonzero((distance[:, :4].max(axis=1) <= BOX_LIMIT) & (distance[:, 4] <= PROBABILITY_LIMIT))
            if len(close):
                others = np.delete(others, close[0], axis=0)
                same += 1
            else:
                missing.append(row)
        ties = _from_ties(missing, list(others), nms_thresh)
        missing_ties, extra_ties = missing_ties + ties[0], extra_ties + ties[1]
    return sum(map(len, wanted)), same, sum(map(len, given)) - same, missing_ties, extra_ties


def _from_ties(missing, extra, nms_thresh):
    """How many missing and how many extra detections of a class follow from equal scores.

    Of two overlapping detections of equal score one suppresses the other, and which is left to chance, in MXNet as
    well. The one that stays then suppresses others, which stay where the other one won.

    Args:
        missing, extra: rows (5,) that one of the two sides alone has.
    """
    unpaired = list(extra)
    known = [], []      # rows of each side that are explained
    for row in missing:
        tied = next((n for n, other in enumerate(unpaired) if abs(other[4] - row[4]) <= TIE_LIMIT
                     and _overlap(row, other) > nms_thresh), None)
        if tied is not None:
            known[0].append(row)
            known[1].append(unpaired.pop(tied))
    rest = [(row, 0) for row in missing] + [(row, 1) for row in unpaired]
    for row, side in sorted(rest, key=lambda item: -item[0][4]):
        if not any(row is one for one in known[side]) and any(
                other[4] > row[4] and _overlap(row, other) > nms_thresh for other in known[1 - side]):
            known[side].append(row)
    return len(known[0]), len(known[1])


def _overlap(row, other):
    return bbox_overlaps(row[None], other[None])[0, 0]
