"""One image seen several times, at other scales or mirrored: what was found, put together."""
import numpy as np

from lib.bbox.bbox_transform import flip_boxes


def merge_views(views):
    """Pool the candidates of all views of an image, for suppression to choose from.

    Args:
        views: list of (scores, boxes, mirrored_width): scores (R, C); boxes (R, 4 * M) in pixels of the view before
            scaling; the image's width in pixels if the view is its mirror image, else None.
    Returns:
        scores (sum of R, C), boxes (sum of R, 4 * M) in pixels of the image.
    """
    boxes = [boxes if width is None else _flip_all(boxes, width) for _, boxes, width in views]
    return np.concatenate([scores for scores, _, _ in views]), np.concatenate(boxes)


def _flip_all(boxes, width):
    """`flip_boxes` of (R, 4 * M) boxes."""
    return flip_boxes(boxes.reshape(-1, 4), width).reshape(boxes.shape)
