"""What may be wrong with a box, and what training makes of it."""
from lib.dataset import annotated as kinds

SLACK = 1e-3    # pixels: fractions of the width, written with six digits, are not more exact


def judge(box, width, height, min_side=2):
    """Fit a box as written into its image.

    Args:
        box: x1, y1, x2, y2 counted from 0, both corners inside; any numbers.
        width, height: of the image, pixels.
        min_side: pixels; a box that is thinner once it is cut off at the border is dropped.
    Returns:
        the box inside the image, a list, or None if it is dropped; and the kind of fault, None if there is none.
    """
    x1, y1, x2, y2 = box
    fitted = [max(x1, 0), max(y1, 0), min(x2, width - 1), min(y2, height - 1)]
    if x2 < x1 - 1 or y2 < y1 - 1:              # x2 = x1 - 1 is an empty box: its width x2 - x1 + 1 is 0
        return None, kinds.INVERTED
    if fitted[2] < fitted[0] and x2 >= x1 or fitted[3] < fitted[1] and y2 >= y1:
        return None, kinds.OUTSIDE
    if fitted[2] - fitted[0] + 1 < min_side or fitted[3] - fitted[1] + 1 < min_side:
        return None, kinds.TINY
    out = max(abs(a - b) for a, b in zip(box, fitted))
    return fitted, kinds.CLIPPED if out > SLACK else None


def uninverted(box):
    """The box with its corners in their order."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
