"""What R-FCN learns from proposals that were made before its training (alternating training, external proposals)."""
import numpy as np

from lib.bbox.bbox_regression import add_bbox_regression_targets
from lib.rcnn.sample_rois import match_rois


def add_roi_targets(roidb, *, num_classes, class_agnostic, thresh=0.5, bbox_means=None, bbox_stds=None):
    """Make RoIs of the objects and the proposals of each image, and match them with the objects.

    Args:
        roidb: list of entries with boxes, gt_classes and proposals (m, 4 or more), see `lib/dataset/roidb.py`.
        The others: see `lib.bbox.bbox_regression.add_bbox_regression_targets`.
    Returns:
        roidb: list of new entries; instead of proposals they have
            rois (R, 4) float32, the objects first,
            max_overlaps (R,) float32, the IoU with the object that overlaps most, max_classes (R,) int32, its class,
            bbox_targets (R, 5) float32, class and normalised deltas.
        means, stds: of the deltas, (4 * num_reg_classes,).
    """
    matched = [_match(entry) for entry in roidb]
    means, stds = add_bbox_regression_targets(matched, num_classes=num_classes, class_agnostic=class_agnostic,
                                              thresh=thresh, bbox_means=bbox_means, bbox_stds=bbox_stds)
    return [_with_rois(entry, targets) for entry, targets in zip(roidb, matched)], means, stds


def _match(entry):
    """The entry that `add_bbox_regression_targets` reads: its boxes are all RoIs."""
    rois = np.vstack((entry['boxes'], entry['proposals'][:, :4])).astype(np.float32)
    gt_boxes = np.hstack((entry['boxes'], entry['gt_classes'][:, None]))
    classes, overlaps, _ = match_rois(np.insert(rois, 0, 0, axis=1), gt_boxes)
    return dict(boxes=rois, max_overlaps=overlaps, max_classes=classes)


def _with_rois(entry, matched):
    """There may be thousands of RoIs an image: nothing is kept twice, and nothing in float64."""
    kept = {name: value for name, value in entry.items() if name != 'proposals'}
    return dict(kept, rois=matched['boxes'], bbox_targets=matched['bbox_targets'],
                max_overlaps=matched['max_overlaps'].astype(np.float32),
                max_classes=matched['max_classes'].astype(np.int32))
