"""What `rfcn explain` writes of a decision and of training images: pictures, and one page without outside files."""
from pathlib import Path

import cv2
import numpy as np

from lib.utils.console import counted
from lib.utils.folders import make_folder
from lib.utils.image_file import imwrite
from lib.utils.web_page import figure, heading, paragraph, table, web_page
from lib.utils.whole_file import alone_in, check_not_read, save_text
from rfcn.explaining import figures

DECISION_PAGE, TRAINING_PAGE = 'explanation.html', 'training.html'
NO_MAPS = ('This network has no position-sensitive score maps: its head pools the features of a RoI and answers by a '
           'fully connected layer, so there are no maps, bins and votes to draw.')
SHEET = 100     # images on the sheet of training images: a jpg has at most 65,500 rows of pixels
DELTAS = ('dx', 'dy', 'dw', 'dh')


def write_explanation(explanation, folder, name):
    """Write the pictures and the page into a folder.

    Args:
        explanation: an `Explanation`. name: path of the image, also the page's title.
    Returns:
        path of the page.
    Raises:
        UserError: the image would be replaced.
    """
    make_folder(folder)
    pictures = draw_explanation(explanation)
    return _write(folder, {title + '.png': picture for title, picture in pictures.items()}, DECISION_PAGE,
                  decision_page(explanation, pictures, name), [name])


def _write(folder, pictures, page, text, inputs):
    """Write pictures (file's name -> array) and a page; refused if a file of `inputs` would be replaced."""
    folder = Path(folder)
    check_not_read([folder / name for name in pictures], inputs)
    with alone_in(folder):
        for name, picture in pictures.items():
            imwrite(folder / name, picture, quality=88)     # of a jpg
        save_text(str(folder / page), text)
    return folder / page


def draw_explanation(explanation):
    """All pictures of an explanation: dict of file name without extension -> array."""
    pictures = {'rois': figures.votes_picture(explanation)}
    if explanation.maps is not None:
        for vote, name in zip(explanation.votes, ('', '_moved')):
            pictures['maps' + name] = figures.maps_and_bins(explanation, vote)
        pictures['idea'] = figures.side_by_side([figures.votes_picture(explanation, 1), pictures['maps']])
        of_box = explanation.votes[0].box_bins
        pictures['box_bins'] = figures.side_by_side([figures.bin_table(values, np.abs(of_box).max(), name)
                                                     for name, values in zip(DELTAS, of_box)])
    pictures['box'] = figures.refined_picture(explanation, explanation.votes[0])
    pictures['objectness'] = figures.objectness_picture(explanation)
    pictures['proposals'] = figures.proposals_picture(explanation)
    pictures['nms'] = figures.suppression_picture(explanation)
    return pictures


def decision_page(explanation, pictures, name):
    """The page, str."""
    parts = _origin_part(explanation, pictures)
    parts += _maps_part(explanation, pictures) if explanation.maps is not None else [paragraph(NO_MAPS)]
    parts += _scores_part(explanation) + _box_part(explanation, pictures) + _rpn_part(explanation, pictures)
    parts += _nms_part(explanation, pictures)
    return web_page('%s: %s' % (Path(str(name)).name, explanation.class_name), parts)


def _origin_part(explanation, pictures):
    box, found = _box(explanation.votes[0].box), explanation.detection
    what = 'The detection %s, score %.4f, box %s. It comes from the RoI %s (pixels of the image), which' \
        % (explanation.class_name, found.score, _box(found.box), box) if found else \
        'The class %s in a box that was given, %s (pixels of the image), which' % (explanation.class_name, box)
    return [paragraph(what + ' is explained beside the same box moved by half of its width.'),
            figure(pictures['rois'], 'Yellow: the RoI. Purple: the same box moved.')]


def _maps_part(explanation, pictures):
    roi, moved = explanation.votes
    size = len(explanation.maps)
    channels = explanation.channels
    text = ('The blob rfcn_cls has %d x %d maps for each class, those of a class together, row by row: map (i, j) of '
            '%s is channel %d * %d + i * %d + j, so these are the channels %d to %d. Map (i, j) answers for bin (i, j) '
            'of a RoI alone: row i, column j. The score of a bin is the mean of its map over the cells in the black '
            'frame (whole cells, so that the frames of a small RoI reach beyond it), and the RoI\'s '
            'score is the mean of its bins, their vote.'
            % (size, size, explanation.class_name, explanation.class_number, size * size, size, channels[0, 0],
               channels[-1, -1]))
    parts = [heading('Score maps, bins, votes'), paragraph(text)]
    if roi.shifts is not None:
        parts.append(paragraph('This network is deformable: the arrows are the offsets by which each bin is moved '
                               'before it is pooled; frames show the bins before. The numbers are those of the moved '
                               'bins.'))
    parts += [figure(pictures['maps'], 'The RoI (yellow). Vote %.4f, softmax %.4f.'
                     % (roi.cls_score[explanation.class_number], roi.cls_prob[explanation.class_number])),
              figure(pictures['maps_moved'], 'The same box moved by half of its width. Vote %.4f, softmax %.4f.'
                     % (moved.cls_score[explanation.class_number], moved.cls_prob[explanation.class_number]))]
    return parts


def _scores_part(explanation):
    roi, moved = explanation.votes
    order = np.argsort(-roi.cls_prob)
    return [heading('Scores of all classes'),
            table(['class', 'vote', 'softmax', 'moved: vote', 'softmax'],
                  [[explanation.classes[c], '%.4f' % roi.cls_score[c], '%.4f' % roi.cls_prob[c],
                    '%.4f' % moved.cls_score[c], '%.4f' % moved.cls_prob[c]] for c in order],
                  roi.cls_prob[order], [int(np.flatnonzero(order == explanation.class_number)[0])])]


def _box_part(explanation, pictures):
    roi = explanation.votes[0]
    deltas = ', '.join('%s %.4f' % pair for pair in zip(DELTAS, roi.deltas))
    parts = [heading('The box'), paragraph('Deltas %s: %s becomes %s.' % (deltas, _box(roi.box), _box(roi.refined)))]
    if roi.box_bins is not None:
        parts.append(figure(pictures['box_bins'],
                            'The pooled bins of the four box maps of the RoI; each vote is a delta.'))
    return parts + [figure(pictures['box'], 'Orange: the RoI. Green: the box after its deltas.')]


def _rpn_part(explanation, pictures):
    return [heading('What the RPN proposes'),
            figure(pictures['objectness'], 'For each cell of conv4, the highest probability of an object among its '
                   'anchors; white 0, red 1.'),
            figure(pictures['proposals'], 'The best %d proposals with their ranks.' % len(explanation.proposals))]


def _nms_part(explanation, pictures):
    kept, removed = len(explanation.kept), len(explanation.suppressed)
    return [heading('What NMS removes of the class ' + explanation.class_name),
            paragraph('%d candidates score above the threshold; NMS keeps %d of them and removes %d: each overlaps a '
                      'better scored one that is kept by more than the threshold.' % (kept + removed, kept, removed)),
            figure(pictures['nms'], 'The best of those that are kept, and thin in the same colour those that each '
                   'removes.')]


def _box(box):
    return '(%s)' % ', '.join('%.1f' % x for x in box)


def write_training_page(images, folder):
    """Write a sheet of the images (the first of very many), the pictures of each, and the page.

    Args:
        images: list of `TrainingImage`.
    Returns:
        path of the page.
    Raises:
        UserError: an image would be replaced.
    """
    make_folder(folder)
    parts, rows = [], []
    for number, image in enumerate(images, 1):
        panels = figures.draw_training_image(image)
        row = figures.side_by_side([figures.titled(panel, title) for title, panel in panels.items()])
        rows.append(row)
        parts += [heading('%d. %s' % (number, image.path))] + [paragraph(line) for line in image.sentences()]
        parts += [figure(panel, title) for title, panel in panels.items()] + [_objects_table(image)]
    on_sheet = rows[:SHEET]
    width = max(row.shape[1] for row in on_sheet)
    sheet = np.vstack([cv2.copyMakeBorder(row, 0, 10, 0, width - row.shape[1], cv2.BORDER_CONSTANT,
                                          value=(255, 255, 255)) for row in on_sheet])
    title = 'What %s %s' % (counted(len(images), 'training image'), 'teaches' if len(images) == 1 else 'teach')
    pictures = {'training_%d.png' % number: row for number, row in enumerate(rows, 1)}
    return _write(folder, dict(pictures, **{'sheet.jpg': sheet}), TRAINING_PAGE,
                  web_page(title, [_summary(images)] + parts), [image.path for image in images])


def _objects_table(image):
    rows = [[each.class_name, '%.0f x %.0f' % (each.box[2] - each.box[0] + 1, each.box[3] - each.box[1] + 1),
             '%.2f' % each.best_anchor, each.anchors, each.rois, each.kept] for each in image.objects]
    return table(['object', 'pixels', 'best anchor, IoU', 'positive anchors', 'foreground RoIs', 'that back-propagate'],
                 rows)


def _summary(images):
    """The table of all images by class: objects, those that anchors miss, anchors and RoIs of each object."""
    classes = {}
    for image in images:
        for each in image.objects:
            classes.setdefault(each.class_name, []).append((each.best_anchor < image.fg_thresh, each.anchors, each.rois,
                                                            each.kept))
    rows = [[name, len(found), sum(miss for miss, _, _, _ in found)]
            + ['%.1f' % np.mean(column) for column in list(zip(*found))[1:]] for name, found in sorted(classes.items())]
    return table(['class', 'objects', 'without an anchor of the positive IoU', 'positive anchors each',
                  'foreground RoIs each', 'that back-propagate'], rows)
