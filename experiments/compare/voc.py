"""A small PASCAL VOC data set: reading it, writing detections, average precision."""
import re
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from experiments.compare.report import PLAIN, Tolerance
from experiments.compare.roidb import check_roidb
from experiments.compare.vectors import plain
from lib.dataset.pascal_voc import PascalVOC
from lib.dataset.pascal_voc_eval import evaluate_detections, read_detections, voc_eval, write_detections
from lib.utils.roidb import append_flipped_images, filter_roidb

DECIMALS = {'score_decimals': 3, 'box_decimals': 1}
ROUNDED = 'all decimals are kept; the release writes and evaluates 3 of the score and 1 of the box (score_decimals, box_decimals)'
ABSENT = 'a class without objects does not count in the mean; in the release its AP is 0 (count_absent=True)'
EMPTY = 'images without objects stay in training; the release drops them (keep_empty=False)'
THIN = 'boxes thinner than 2 pixels are not trained on; the release keeps them (min_box_side=1)'
PRINTED = Tolerance('4 decimals', absolute=0.50001e-4)
IMAGE_SET = '2007_test'


def check_voc_eval(vector, report):
    """Recall, precision and AP of each class; the printed summary; the files of detections; the list of images."""
    record = vector.record
    with tempfile.TemporaryDirectory() as folder:
        devkit = Path(folder)
        write_devkit(devkit / 'VOC2007', plain(record['gt']), record['ids'], image_sizes(record['gt_roidb_with_flips']))
        imdb = PascalVOC(IMAGE_SET, folder, folder)
        thin = PascalVOC(IMAGE_SET, folder, folder, min_box_side=1)
        detections = {name: {image: np.array(rows) for image, rows in images.items()} for name, images in plain(record['dets']).items()}
        rounded = {name: _write_and_read(devkit, name, images, imdb.image_set_index) for name, images in detections.items()}
        check_files(vector.directory, devkit, report)
        _check_curves(record['results'], detections, rounded, imdb.ground_truth(), report)
        _check_summary(record['evaluate_detections_info'], rounded, imdb.ground_truth(), report)
        roidb = append_flipped_images(imdb.gt_roidb())
        check_roidb(report, roidb, record['gt_roidb_with_flips'], ('image', lambda entry: Path(entry['image']).name),
                    append_flipped_images(thin.gt_roidb()), THIN)
        report.check('images to train on', len(filter_roidb(roidb)), record['filter_roidb_kept'], released=lambda: len(
            filter_roidb(roidb, keep_empty=False)), reason=EMPTY)


def image_sizes(entries):
    """Image name without extension -> width, height."""
    return {entry['image'].rsplit('.', 1)[0]: (entry['width'], entry['height']) for entry in entries}


def write_devkit(folder, truth, names, sizes):
    """The annotations, and empty files in place of the images."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / name).mkdir(parents=True)
    (folder / 'ImageSets' / 'Main' / 'test.txt').write_text('\n'.join(names) + '\n', encoding='utf-8')
    for name in names:
        (folder / 'JPEGImages' / (name + '.jpg')).touch()
        objects = ''.join('<object><name>%s</name><difficult>%d</difficult><bndbox><xmin>%r</xmin><ymin>%r</ymin><xmax>%r</xmax>'
                          '<ymax>%r</ymax></bndbox></object>' % ((escape(item['name']), item['difficult']) + tuple(item['bbox']))
                          for item in truth.get(name, ()))
        (folder / 'Annotations' / (name + '.xml')).write_text('<annotation><size><width>%d</width><height>%d</height></size>%s'
                                                              '</annotation>' % (sizes[name] + (objects,)), encoding='utf-8')


def _write_and_read(folder, name, detections, images):
    """The detections of a class after they went through the release's file."""
    path = str(folder / ('voc_det_%s.txt' % name))
    write_detections(path, [(image, detections[image]) for image in images if image in detections], **DECIMALS)
    return read_detections(path)


def check_files(directory, ours, report):
    """voc_det_<class>.txt, character by character."""
    for path in sorted(directory.glob('voc_det_*.txt')):
        report.check(path.name, (ours / path.name).read_text(encoding='utf-8').splitlines(),
                     path.read_text(encoding='utf-8').splitlines())


def _check_curves(results, detections, rounded, truth, report):
    for key in results:
        name, thresh, metric = key.split('|')
        settings = dict(ovthresh=float(thresh), use_07_metric={'07': True, 'area': False}[metric])
        ours, by_rule = [dict(zip(('rec', 'prec', 'ap'), voc_eval(found.get(name, {}), truth[name], **settings)))
                         for found in (detections, rounded)]
        theirs = {quantity: np.array(results[key][quantity], dtype=np.float64) for quantity in results[key]}
        report.check_all(key, ours, theirs, PLAIN, lambda: by_rule, ROUNDED)


def _check_summary(text, detections, truth, report):
    lines = re.findall(r'^(?:AP for (.+)|Mean AP@([0-9.]+)) = ([0-9.]+|nan)$', text, re.MULTILINE)
    detections = {name: detections.get(name, {}) for name in truth}
    metric = re.search(r'^VOC07 metric\? (\w+)', text, re.MULTILINE).group(1)
    use_07_metric = metric in ('Y', 'Yes')

    def printed(count_absent):
        thresholds = sorted({float(mean) for _, mean, _ in lines if mean})
        metrics = evaluate_detections(detections, truth, use_07_metric=use_07_metric, thresholds=thresholds,
                                      count_absent=count_absent).metrics
        numbers, done = [], 0
        for name, mean, _ in lines:
            numbers.append(metrics['mAP@' + mean] if mean else metrics['AP@%g/%s' % (thresholds[done], name)])
            done += bool(mean)
        return np.nan_to_num(numbers) if count_absent else np.array(numbers)
    known = r'(AP for .+|Mean AP@.+|VOC07 metric\? \w+|)'
    report.check('summary: lines', [line for line in text.splitlines() if not re.fullmatch(known, line)], [])
    report.check('summary: numbers', printed(False), np.array([float(value) for _, _, value in lines]), PRINTED,
                 lambda: printed(True), ABSENT)
