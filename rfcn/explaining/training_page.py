"""What training images teach, as pictures and one HTML page without outside files."""
from pathlib import Path

import cv2
import numpy as np

from lib.utils.console import counted
from lib.utils.folders import make_folder
from lib.utils.image_file import imwrite
from lib.utils.show_boxes import BLACK, class_colors, draw_boxes, put_text
from lib.utils.web_page import figure, heading, paragraph, table, web_page
from lib.utils.whole_file import save_text
from rfcn.explaining.figures import enlarged, side_by_side

PAGE = 'training.html'
PANEL = 420         # pixels: the longest side of a picture
POSITIVE, NEGATIVE, PROPOSAL = (60, 170, 40), (150, 150, 150), (200, 120, 0)
KEPT_FG, KEPT_BG, DROPPED_FG, DROPPED_BG = (60, 170, 40), (60, 60, 220), (0, 190, 255), (170, 170, 170)
TARGET = (200, 0, 200)
LEGEND = ('green: foreground that back-propagates; yellow: foreground that does not; red: background that does; grey: '
          'background that does not')
SHOWN = 60          # negative anchors and proposals that are drawn at most
LOSSES = 128        # highest losses that are drawn


def write_training_page(taught, folder):
    """Write a sheet of all images, the pictures of each, and the page.

    Args:
        taught: list of `TrainingImage`.
    Returns:
        path of the page.
    """
    folder = Path(folder)
    make_folder(folder)
    parts, sheets = [], []
    for number, image in enumerate(taught, 1):
        panels = draw_training_image(image)
        row = side_by_side([titled(panel, title) for title, panel in panels.items()])
        imwrite(folder / ('training_%d.png' % number), row)
        sheets.append(row)
        parts += [heading('%d. %s' % (number, image.path))] + [paragraph(line) for line in image.sentences()]
        parts += [figure(panel, title) for title, panel in panels.items()] + [_objects_table(image)]
    width = max(sheet.shape[1] for sheet in sheets)
    sheet = np.vstack([cv2.copyMakeBorder(each, 0, 10, 0, width - each.shape[1], cv2.BORDER_CONSTANT,
                                          value=(255, 255, 255)) for each in sheets])
    imwrite(folder / 'sheet.jpg', sheet, quality=88)
    title = 'What %s' % ('1 training image teaches' if len(taught) == 1 else
                         counted(len(taught), 'training image') + ' teach')
    save_text(str(folder / PAGE), web_page(title, [_summary(taught)] + parts))
    return folder / PAGE


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
            (shown_negatives, [NEGATIVE] * len(shown_negatives), None, 1),
            (image.anchors[labels > 0], [POSITIVE] * int((labels > 0).sum()), None, 2)])}
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
            'the %d highest losses, class and box together; colours as of the RoIs' % LOSSES: loss_bars(rois)}


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
    """The picture below its title, cut to two lines of the picture's width."""
    lines, letters = [''], 12
    for word in title.split():
        if (len(lines[-1]) + len(word)) * letters * 0.58 > picture.shape[1] and lines[-1]:
            lines.append('')
        lines[-1] += word + ' '
    bar = np.full((4 * (letters + 4), picture.shape[1], 3), 255, dtype=np.uint8)
    for number, line in enumerate(lines[:4]):
        put_text(bar, line, 2, number * (letters + 4), letters, BLACK)
    return np.vstack((bar, picture))


def _objects_table(image):
    rows = [[each.class_name, '%.0f x %.0f' % (each.box[2] - each.box[0] + 1, each.box[3] - each.box[1] + 1),
             '%.2f' % each.best_anchor, each.anchors, each.rois, each.kept] for each in image.objects]
    return table(['object', 'pixels', 'best anchor, IoU', 'positive anchors', 'foreground RoIs', 'that back-propagate'],
                 rows)


def _summary(taught):
    """Of all images, by class: objects, those that anchors miss, anchors and RoIs of each."""
    classes = {}
    for image in taught:
        for each in image.objects:
            classes.setdefault(each.class_name, []).append((each.best_anchor < image.fg_thresh, each.anchors, each.rois,
                                                            each.kept))
    rows = [[name, len(found), sum(miss for miss, _, _, _ in found)]
            + ['%.1f' % np.mean(column) for column in list(zip(*found))[1:]] for name, found in sorted(classes.items())]
    return table(['class', 'objects', 'without an anchor of the positive IoU', 'positive anchors each',
                  'foreground RoIs each', 'that back-propagate'], rows)
