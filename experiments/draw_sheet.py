"""A sheet of test images: annotated objects on the left of each pair, detections on the right.

    python experiments/draw_sheet.py --cfg RUN/config.yaml --detections X_detections.pkl --out sheet.jpg [--count 12]

A detection is a hit (green) if the VOC evaluation counts it as right: its IoU with the object of its class that it
overlaps most exceeds 0.5, and no better scored one hit that object. All others are false alarms (red). Objects without
a hit are missed (orange). Images stand in rows of one width, so that pictures of any shape fill the sheet.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import cv2
import numpy as np

from lib.dataset.voc_eval import match_detections
from lib.utils.image_file import imread, imwrite
from lib.utils.show_boxes import class_colors, draw_boxes
from lib.utils.whole_file import check_not_read, check_place
from rfcn import data_sets
from rfcn.cli.script import make_parser, run_script, share, whole_number_from
from rfcn.config.config import load_config
from rfcn.result import read_detections

HIT, MISSED, FALSE_ALARM = (60, 160, 0), (0, 140, 255), (40, 40, 220)     # B, G, R
HEADING = (('annotated | found:', (0, 0, 0)), ('hit', HIT), ('missed', MISSED), ('false alarm', FALSE_ALARM))
HEADING_HEIGHT, MARGIN, LINE = 36, 6, 2
JPEG_QUALITY = 85


def verdicts(dets, boxes, iou=0.5):
    """Which detections of a class in one image are right, and which objects they find.

    Args:
        dets: (n, 5) boxes and scores by falling score. boxes: (m, 4) objects.
    Returns:
        (n,) bool, right; (m,) bool, found.
    """
    matches = match_detections({'': dets}, {'': (boxes, np.zeros(len(boxes), dtype=bool))})
    close = np.flatnonzero(matches.overlaps > iou)
    found, first = np.unique(matches.objects[close], return_index=True)
    return np.isin(np.arange(len(dets)), close[first]), np.isin(np.arange(len(boxes)), found)


def judged(dets_by_class, boxes, labels, classes, thresh):
    """All that is drawn on the right: (boxes (n, 4), colours, texts); hits last, so that they are on top."""
    marks = []
    for label in range(1, len(classes)):
        dets = np.asarray(dets_by_class[label], dtype=np.float64).reshape(-1, 5)
        dets = dets[np.argsort(-dets[:, 4], kind='stable')]
        dets, objects = dets[dets[:, 4] >= thresh], boxes[labels == label]
        right, found = verdicts(dets, objects)
        marks += [(0, box, MISSED, classes[label]) for box in objects[~found]]
        marks += [(2 if hit else 1, det[:4], HIT if hit else FALSE_ALARM, '%s %.2f' % (classes[label], det[4]))
                  for hit, det in zip(right, dets)]
    marks.sort(key=lambda mark: mark[0])
    return np.array([box for _, box, _, _ in marks]).reshape(-1, 4), [m[2] for m in marks], [m[3] for m in marks]


def pair(entry, dets_by_class, classes, thresh, height, max_pixels):
    """An image of a given height twice, side by side: annotated, found. (height, 2 * width + MARGIN, 3) uint8."""
    im = imread(entry['image'], max_pixels)
    scale = height / im.shape[0]
    size = max(1, int(round(im.shape[1] * scale))), height
    im = cv2.resize(im, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    boxes, labels = np.asarray(entry['boxes'], dtype=np.float64).reshape(-1, 4), np.asarray(entry['gt_classes'])
    marks, colors, texts = judged(dets_by_class, boxes, labels, classes, thresh)
    gap = np.full((height, MARGIN, 3), 255, dtype=np.uint8)
    of_classes = class_colors(len(classes))
    annotated = draw_boxes(im, boxes * scale, [of_classes[c] for c in labels], [classes[c] for c in labels], LINE)
    return np.hstack([annotated, gap, draw_boxes(im, marks * scale, colors, texts, LINE)])


def rows_of(shapes, width, height):
    """Share out pairs of images into rows of one width.

    Args:
        shapes: (width, height) of each image. width: of the sheet. height: most of a row.
    Returns:
        list of (numbers of the images, height of the row).
    """
    rows, row = [], []
    for number, (w, h) in enumerate(shapes):
        row.append((number, 2 * w / h))
        space = width - 3 * MARGIN * len(row)
        if space / sum(ratio for _, ratio in row) <= height:
            rows.append(([n for n, _ in row], max(1, int(space / sum(ratio for _, ratio in row)))))
            row = []
    return rows + ([([n for n, _ in row], height)] if row else [])


def sheet(imdb, all_boxes, count, thresh, width, height, max_pixels):
    """The pairs of `count` images spread evenly over the set, in rows, below a heading. (H, width, 3) uint8 BGR."""
    roidb = imdb.gt_roidb()
    chosen = np.unique(np.linspace(0, len(roidb) - 1, count).astype(int))
    strips = [heading(width)]
    for numbers, row_height in rows_of([(roidb[i]['width'], roidb[i]['height']) for i in chosen], width, height):
        strip = np.full((row_height + 2 * MARGIN, width, 3), 255, dtype=np.uint8)
        left = MARGIN
        for i in chosen[numbers]:
            drawn = pair(roidb[i], [boxes[i] for boxes in all_boxes], imdb.classes, thresh, row_height,
                         max_pixels)
            drawn = drawn[:, :max(0, width - left)]
            strip[MARGIN:MARGIN + row_height, left:left + drawn.shape[1]] = drawn
            left += drawn.shape[1] + 2 * MARGIN
        strips.append(strip)
    return np.vstack(strips)


def heading(width):
    """What the colours mean, on white."""
    bar = np.full((HEADING_HEIGHT, width, 3), 255, dtype=np.uint8)
    left = MARGIN
    for text, color in HEADING:
        cv2.putText(bar, text, (left, HEADING_HEIGHT - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, 2, cv2.LINE_AA)
        left += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)[0][0] + 16
    return bar


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('--cfg', required=True, help='the config.yaml of the run')
    parser.add_argument('--detections', required=True, help='the pickle that a test wrote')
    parser.add_argument('--out', required=True, help='jpg or png')
    parser.add_argument('--count', type=whole_number_from(1), default=12, help='images')
    parser.add_argument('--thresh', type=share, default=0.5, help='lowest score that is drawn')
    parser.add_argument('--width', type=whole_number_from(1, 2 ** 14), default=1600, help='of the sheet, pixels')
    parser.add_argument('--height', type=whole_number_from(1, 2 ** 14), default=260, help='most of an image, pixels')
    args = parser.parse_args(argv)
    cfg = load_config(args.cfg)
    imdb, = data_sets.datasets(cfg, cfg.dataset.test_image_set)
    check_place(args.out)
    check_not_read([args.out], [args.cfg, args.detections] + [picture.path for picture in imdb.data.pictures])
    all_boxes = read_detections(args.detections)
    imdb.check_detections(all_boxes)
    picture = sheet(imdb, all_boxes, args.count, args.thresh, args.width, args.height, cfg.dataset.MAX_PIXELS)
    imwrite(args.out, picture, JPEG_QUALITY)


if __name__ == '__main__':
    run_script(main)
