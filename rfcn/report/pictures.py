"""Pictures of a report: an image with its objects on the left, with its detections on the right."""
import cv2
import numpy as np

from lib.utils.show_boxes import draw_boxes
from rfcn.report.analysis import EXCUSED, HIT, Judged, Objects

FOUND, MISSED, WRONG, NEITHER = (60, 160, 60), (40, 40, 220), (0, 140, 255), (150, 150, 150)    # B, G, R
SIDE = 440      # pixels, the longer side of each half


def side_by_side(im, image: int, objects: Objects, judged: Judged, classes, thresh: float):
    """One image of a report.

    Left the objects: green if a detection of at least that score hits it, else red; grey if it need not be found. Right
    the detections: green hits, orange errors, grey what counts as neither.

    Args:
        im: (H, W, 3) uint8 BGR. image: its number in `objects` and `judged`. classes: names, the background first.
    Returns:
        (h, w, 3) uint8.
    """
    scale = SIDE / max(im.shape[:2])
    small = cv2.resize(im, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rows = np.flatnonzero((judged.images == image) & (judged.scores >= thresh))[::-1]      # the best one on top
    things = np.flatnonzero(objects.images == image)
    hit = set(judged.targets[rows[judged.verdicts[rows] == HIT]].tolist())
    truth = draw_boxes(small, _scaled(objects.boxes[things], scale),
                       [NEITHER if objects.excused[thing] else FOUND if thing in hit else MISSED for thing in things],
                       [classes[objects.labels[thing]] for thing in things])
    colours = {HIT: FOUND, EXCUSED: NEITHER}
    found = draw_boxes(small, _scaled(judged.boxes[rows], scale),
                       [colours.get(verdict, WRONG) for verdict in judged.verdicts[rows].tolist()],
                       ['%s %.2f' % (classes[judged.labels[row]], judged.scores[row]) for row in rows])
    gap = np.full((small.shape[0], 6, 3), 255, dtype=np.uint8)
    return np.hstack((truth, gap, found))


def _scaled(boxes, scale):
    """Boxes in pixels of the small image."""
    return (boxes + [0, 0, 1, 1]) * scale - [0, 0, 1, 1]
