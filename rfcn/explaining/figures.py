"""Pictures of an explanation: score maps over the image, bins, boxes; and of what a training image teaches.

Pictures are (H, W, 3) uint8 arrays; they and the colours are BGR.
"""
import cv2
import numpy as np

from lib.utils.console import counted
from lib.utils.image import rescaled
from lib.utils.show_boxes import BLACK, WHITE, class_colors, draw_boxes, ink_on, put_text, text_size
from rfcn.symbols.resnet_v1 import CONV4_STRIDE

NEGATIVE, NEUTRAL, POSITIVE = (192, 76, 59), (245, 245, 245), (38, 4, 180)   # of scores: blue, white, red
ROI, BIN, BEFORE, AFTER = (0, 200, 255), (0, 0, 0), (0, 140, 255), (60, 170, 40)
PROPOSAL, MOVED = (200, 120, 0), (200, 0, 200)
POSITIVE_ANCHOR, NEGATIVE_ANCHOR, TARGET = (60, 170, 40), (150, 150, 150), (200, 0, 200)
KEPT_FG, KEPT_BG, DROPPED_FG, DROPPED_BG = (60, 170, 40), (60, 60, 220), (0, 190, 255), (170, 170, 170)     # of RoIs
LEGEND = ('green: foreground that back-propagates; yellow: foreground that does not; red: background that does; grey: '
          'background that does not')
GRID, LARGE_GRID = 660, 940     # pixels: about the side of a picture with k x k parts; of one with many
FEW = 4             # bins per side that are few
SUPPRESSORS = 6     # kept boxes that are drawn with those that they removed
PANEL = 420         # pixels: the longest side of a picture of a training image
SHOWN = 60          # negative anchors and proposals that are drawn at most
LOSSES = 128        # highest losses that are drawn
OPACITY = 0.55       # of a score map over the image


def colors_of(values, limit):
    """Scores -> colours: blue at -limit, white at 0, red at limit. (...) -> (..., 3) uint8."""
    part = np.clip(np.asarray(values, dtype=np.float64) / max(limit, 1e-12), -1, 1)[..., None]
    ends = np.where(part < 0, np.float64(NEGATIVE), np.float64(POSITIVE))
    return np.round(np.float64(NEUTRAL) + np.abs(part) * (ends - np.float64(NEUTRAL))).astype(np.uint8)


def over_image(image, values, limit, cell):
    """The image in grey under a map (H, W), each cell of which covers `cell` pixels of the image."""
    height, width = image.shape[:2]
    rows = np.minimum((np.arange(height) / cell).astype(int), values.shape[0] - 1)
    columns = np.minimum((np.arange(width) / cell).astype(int), values.shape[1] - 1)
    heat = colors_of(values, limit)[rows][:, columns]
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2)
    return cv2.addWeighted(heat, OPACITY, grey, 1 - OPACITY, 0)


def map_grid(explanation, vote):
    """The k x k maps over the image; in map (i, j) the RoI and the cells of its bin (i, j) alone.

    The bar below gives the scale, which is that of `limit_of` in all pictures of an explanation.
    """
    size = len(explanation.maps)
    factor = max((GRID if size <= FEW else LARGE_GRID) / size / max(explanation.image.shape[:2]), 0.05)
    small = rescaled(explanation.image, factor, cv2.INTER_AREA)
    rows = [np.hstack([_map_tile(explanation, vote, i, j, small, factor) for j in range(size)]) for i in range(size)]
    return np.vstack(rows + [scale_bar(limit_of(explanation), rows[0].shape[1])])


def _map_tile(explanation, vote, i, j, small, factor):
    """Map (i, j) over `small`, the image times `factor`, below its number and the score of the bin."""
    few = len(explanation.maps) <= FEW
    cell = explanation.stride / explanation.scale * factor
    tile = over_image(small, explanation.maps[i, j], limit_of(explanation), cell)
    left, top, right, bottom = np.round(vote.cells[i, j] * cell).astype(int)
    cv2.rectangle(tile, _point(vote.box[:2] * factor), _point(vote.box[2:] * factor), ROI, 1)
    cv2.rectangle(tile, (int(left), int(top)), (int(right) - 1, int(bottom) - 1), BIN, 2 if few else 1)
    if vote.shifts is not None:
        middle = np.float32([left + right, top + bottom]) / 2
        cv2.arrowedLine(tile, _point(middle), _point(middle + vote.shifts[i, j] * factor), BIN, 1, cv2.LINE_AA,
                        tipLength=0.3)
    letters = 13 if few else 11
    tile = cv2.copyMakeBorder(tile, letters + 5, 0, 0, 0, cv2.BORDER_CONSTANT, value=WHITE)
    put_text(tile, '%d,%d: %.2f' % (i, j, vote.pooled[i, j]), 2, 0, letters, BLACK)
    return cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=WHITE)


def limit_of(explanation):
    """The score at the ends of the colour scale: the largest of the class's maps and pooled bins, positive or not."""
    values = [np.abs(explanation.maps).max()] + [np.abs(vote.pooled).max() for vote in explanation.votes]
    return float(max(values))


def scale_bar(limit, width):
    """The colours from -limit to limit with five values below them."""
    bar = np.full((34, width, 3), 255, dtype=np.uint8)
    inner = slice(30, max(31, width - 30))
    bar[4:16, inner] = colors_of(np.linspace(-limit, limit, bar[0, inner].shape[0]), limit)
    for part in np.linspace(0, 1, 5):
        text = '%.3g' % (limit * (2 * part - 1))
        put_text(bar, text, int(30 + part * (width - 60) - text_size(text, 11)[0] / 2), 17, 11, BLACK)
    return bar


def bin_table(values, limit, title):
    """The pooled bins (k, k) as coloured cells with their numbers, and their mean, the vote."""
    size = len(values)
    cell = 64 if size <= FEW else 44
    table = np.full((size * cell + 44, max(size * cell, 150), 3), 255, dtype=np.uint8)
    put_text(table, title, 0, 2, 12, BLACK)
    colors = colors_of(values, limit)
    for i in range(size):
        for j in range(size):
            top, left = 20 + i * cell, j * cell
            table[top:top + cell - 1, left:left + cell - 1] = colors[i, j]
            text = '%.2f' % values[i, j]
            width, height = text_size(text, 12)
            put_text(table, text, left + (cell - width) // 2, top + (cell - height) // 2, 12,
                     ink_on([int(level) for level in colors[i, j]]))
    put_text(table, 'vote (mean): %.4f' % values.mean(), 0, 22 + size * cell, 13, BLACK)
    return table


def side_by_side(pictures, gap=14):
    """Pictures in a row, on white."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, gap, cv2.BORDER_CONSTANT, value=WHITE)
              for picture in pictures]
    return np.hstack(padded)


def enlarged(image, boxes=(), longest=560):
    """The image so that its longest side has so many pixels, and boxes (n, 4) on it."""
    factor = longest / max(image.shape[:2])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * factor
    return rescaled(image, factor, interpolation), boxes


def maps_and_bins(explanation, vote):
    """The maps of the class, and beside or below them the pooled bins of a RoI and its vote (the paper's Figures 3, 4).
    """
    maps, table = map_grid(explanation, vote), bin_table(vote.pooled, limit_of(explanation), vote.name)
    if len(vote.pooled) <= FEW:
        return side_by_side([maps, table])
    table = cv2.copyMakeBorder(table, 10, 0, 0, max(0, maps.shape[1] - table.shape[1]), cv2.BORDER_CONSTANT,
                               value=WHITE)
    return np.vstack((maps, table[:, :maps.shape[1]]))


def votes_picture(explanation, most=2):
    """The RoIs whose votes are explained, or the first of them, on the image; the first on top."""
    votes = explanation.votes[:most]
    picture, boxes = enlarged(explanation.image, [vote.box for vote in votes])
    scores = ['%s %.3f' % (explanation.class_name, vote.cls_prob[explanation.class_number]) for vote in votes]
    return draw_boxes(picture, boxes[::-1], [ROI, MOVED][:most][::-1], scores[::-1], line=2)


def refined_picture(explanation, vote):
    """The RoI and the box that its deltas make of it, without labels: the two would lie over each other."""
    picture, boxes = enlarged(explanation.image, [vote.box, vote.refined])
    return draw_boxes(picture, boxes, [BEFORE, AFTER], ['', ''], line=2)


def objectness_picture(explanation):
    """The RPN's objectness over the image: white 0, red 1."""
    picture, _ = enlarged(explanation.image)
    cell = CONV4_STRIDE / explanation.scale * picture.shape[0] / explanation.image.shape[0]
    return over_image(picture, explanation.objectness, 1.0, cell)


def proposals_picture(explanation):
    """The RPN's best proposals with their ranks; the best on top."""
    picture, boxes = enlarged(explanation.image, explanation.proposals)
    ranks = ['%d' % number for number in range(1, len(boxes) + 1)]
    return draw_boxes(picture, boxes[::-1], [PROPOSAL] * len(boxes), ranks[::-1], line=1)


def suppression_picture(explanation):
    """The best boxes that NMS keeps, each with its score, and thin in its colour those that it removes."""
    kept = explanation.kept[:SUPPRESSORS]
    colors = class_colors(len(kept))
    removed = [each for each in explanation.suppressed if each.by < len(kept)]
    picture, boxes = enlarged(explanation.image, [each.box for each in removed] + list(kept[:, :4]))
    picture = draw_boxes(picture, boxes[:len(removed)], [colors[each.by] for each in removed], [''] * len(removed),
                         line=1)
    counts = np.bincount([each.by for each in removed], minlength=len(kept)).astype(int)
    texts = ['%d: %.3f, removes %d' % (number, score, count)
             for number, (score, count) in enumerate(zip(kept[:, 4], counts), 1)]
    return draw_boxes(picture, boxes[len(removed):][::-1], colors[::-1], texts[::-1], line=3)


def draw_training_image(image):
    """Pictures of one image: dict of title -> (H, W, 3) uint8 BGR."""
    labels = image.anchor_labels
    negatives = image.anchors[labels == 0]
    shown_negatives = negatives[:: max(1, -(-len(negatives) // SHOWN))]
    names = [image.classes[int(row[4])] for row in image.gt_boxes]
    colors = class_colors(len(image.classes))
    panels = {
        'the image as the network gets it': _panel(image, [
            (image.gt_boxes[:, :4], [colors[int(row[4])] for row in image.gt_boxes], names, 2)]),
        '%s (green); %d of %d negative ones (grey)'
        % (counted((labels > 0).sum(), 'positive anchor'), len(shown_negatives), len(negatives)): _panel(image, [
            (shown_negatives, [NEGATIVE_ANCHOR] * len(shown_negatives), None, 1),
            (image.anchors[labels > 0], [POSITIVE_ANCHOR] * int((labels > 0).sum()), None, 2)])}
    if image.proposals is not None:
        best = image.proposals[:SHOWN][::-1]
        panels['the best %d proposals' % len(best)] = _panel(image, [(best, [PROPOSAL] * len(best), None, 1)])
    if image.rois is not None:
        panels.update(_roi_panels(image))
    return panels


def _roi_panels(image):
    rois = image.rois
    groups = [(color, (rois.labels >= 0) & chosen) for color, chosen in _groups(rois)]
    drawn = [(rois.boxes[chosen], [color] * int(chosen.sum()), None, 2 if color in (KEPT_FG, DROPPED_FG) else 1)
             for color, chosen in groups[::-1]]
    foreground = np.flatnonzero(rois.labels > 0)
    moves = [(rois.boxes[foreground], [KEPT_FG] * len(foreground), None, 1),
             (rois.targets[foreground], [TARGET] * len(foreground), None, 2)]
    return {'the RoIs; ' + LEGEND: _panel(image, drawn),
            'foreground RoIs (green) and the boxes that they are to become (purple)': _panel(image, moves),
            'the highest losses (%d at most), class and box together; colours as of the RoIs' % LOSSES: loss_bars(rois)}


def _groups(rois):
    """Colour and which RoIs, most important first."""
    foreground = rois.labels > 0
    return [(KEPT_FG, foreground & rois.kept), (DROPPED_FG, foreground & ~rois.kept),
            (KEPT_BG, ~foreground & rois.kept), (DROPPED_BG, ~foreground & ~rois.kept)]


def _panel(image, layers):
    """The image with layers of boxes: (boxes, colours, texts or None, thickness)."""
    picture, _ = enlarged(image.image, longest=PANEL)
    for boxes, colors, texts, line in layers:
        _, boxes = enlarged(image.image, boxes, longest=PANEL)
        picture = draw_boxes(picture, boxes, colors, texts or [''] * len(boxes), line=line)
    return picture


def loss_bars(rois):
    """The losses of the RoIs, highest first, as bars: (300, PANEL, 3)."""
    width, height = PANEL, 300
    loss = rois.cls_loss + rois.box_loss
    order = np.argsort(-np.where(rois.labels >= 0, loss, -1))[:min(LOSSES, int((rois.labels >= 0).sum()))]
    colors = np.zeros((len(loss), 3), dtype=int)
    for color, chosen in _groups(rois):
        colors[chosen] = color
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    highest = max(float(loss[order].max(initial=0)), 1e-12)
    step = (width - 50) / max(len(order), 1)
    for place, roi in enumerate(order):
        left, top = int(45 + place * step), int(height - 20 - (height - 40) * loss[roi] / highest)
        cv2.rectangle(picture, (left, top), (max(left, int(45 + (place + 1) * step) - 2), height - 20),
                      [int(level) for level in colors[roi]], cv2.FILLED)
    for part in (0, 0.5, 1):
        put_text(picture, '%.2g' % (part * highest), 2, int(height - 27 - (height - 40) * part), 11, BLACK)
    return picture


def titled(picture, title):
    """The picture below its title, of which four lines of the picture's width are shown."""
    lines, letters = [''], 12
    for word in title.split():
        if (len(lines[-1]) + len(word)) * letters * 0.58 > picture.shape[1] and lines[-1]:
            lines.append('')
        lines[-1] += word + ' '
    bar = np.full((4 * (letters + 4), picture.shape[1], 3), 255, dtype=np.uint8)
    for number, line in enumerate(lines[:4]):
        put_text(bar, line, 2, number * (letters + 4), letters, BLACK)
    return np.vstack((bar, picture))


def _point(xy):
    return int(round(float(xy[0]))), int(round(float(xy[1])))
