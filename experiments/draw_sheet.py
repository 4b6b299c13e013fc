"""A sheet of test images, each with its ground truth on the left and the saved detections on the right.

`python experiments/draw_sheet.py --cfg RUN/config.yaml --detections X_detections.pkl --out sheet.png`
"""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np

from lib.utils import safe_pickle
from lib.utils.image import imread
from lib.utils.show_boxes import contact_sheet, draw_detections, draw_ground_truth
from rfcn import build
from rfcn.config.config import load_config
from rfcn.script import make_parser, run_script


def drawings(entry, dets_by_class, classes, thresh, scale):
    """Ground truth and detections of an image, enlarged so that labels fit: list of two (h, w, 3) uint8."""
    im = cv2.resize(imread(entry['image']), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    enlarge = np.array([scale] * 4 + [1])
    dets_by_class = [np.asarray(dets).reshape(-1, 5) * enlarge for dets in dets_by_class]
    return [draw_ground_truth(im, entry['boxes'] * scale, entry['gt_classes'], classes),
            draw_detections(im, dets_by_class, classes, thresh)]


def sheet(imdb, all_boxes, count, columns, thresh, scale):
    """The drawings of `count` images spread evenly over the set, side by side, `columns` images a row."""
    roidb = imdb.gt_roidb()
    pictures = []
    for i in np.unique(np.linspace(0, len(roidb) - 1, count).astype(int)):
        pictures += drawings(roidb[i], [boxes[i] for boxes in all_boxes], imdb.classes, thresh, scale)
    return contact_sheet(pictures, 2 * columns)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--cfg', required=True, help='the config.yaml of the run')
    parser.add_argument('--detections', required=True, help='the pickle that rfcn/test.py wrote')
    parser.add_argument('--out', required=True, help='png')
    parser.add_argument('--count', type=int, default=12, help='images')
    parser.add_argument('--columns', type=int, default=3, help='images a row')
    parser.add_argument('--thresh', type=float, default=0.5, help='lowest score that is drawn')
    parser.add_argument('--scale', type=float, default=1, help='enlargement of the images')
    args = parser.parse_args(argv)
    cfg = load_config(args.cfg)
    imdb, = build.datasets(cfg, cfg.dataset.test_image_set)
    picture = sheet(imdb, safe_pickle.load(args.detections), args.count, args.columns, args.thresh, args.scale)
    if not cv2.imwrite(args.out, picture):
        raise OSError('%s could not be written' % args.out)


if __name__ == '__main__':
    run_script(main)
