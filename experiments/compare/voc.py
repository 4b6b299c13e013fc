"""A small PASCAL VOC data set: reading it, writing detections, average precision."""
import re
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from experiments.compare.roidb import check_roidb
from experiments.compare.vectors import plain
from lib.dataset import make_dataset
from lib.dataset.imdb import append_flipped_images, filter_roidb
from lib.dataset.voc_eval import evaluate_detections, read_detections, voc_eval, write_detections

DECIMALS = {'score_decimals': 3, 'box_decimals': 1}
ROUNDED = 'all decimals are evaluated; the release writes, and so evaluates, 3 of the score and 1 of the box'
ABSENT = 'a class without objects does not count in the mean; in the release its AP is 0 (count_absent=True)'
EMPTY = 'images without objects stay in training; the release drops them (keep_empty=False)'
THIN = 'boxes thinner than 2 pixels are not trained on; the release keeps them (min_box_side=1)'
PRINTED = Tolerance('4 decimals', absolute=0.50001e-4)
IMAGE_SET = '2007_test'
ANNOTATION = '<annotation><size><width>%d</width><height>%d</height></size>%s</annotation>'
OBJECT = ('<object><name>%s</name><difficult>%d</difficult><bndbox><xmin>%r</xmin><ymin>%r</ymin><xmax>%r</xmax>'
          '<ymax>%r</ymax></bndbox></object>')


def check_voc_eval(vector, report):
    """Recall, precision and AP of each class; the printed summary; the files of detections; the list of images."""
    record = vector.record
    with tempfile.TemporaryDirectory() as folder:
        write_devkit(Path(folder) / 'VOC2007', plain(record['gt']), record['ids'],
                     image_sizes(record['gt_roidb_with_flips']))
        imdb, with_thin = (make_dataset('PascalVOC', IMAGE_SET, folder, folder, **more)
                           for more in ({}, {'min_box_side': 1}))
        detections = {name: {image: np.array(rows) for image, rows in images.items()}
                      for name, images in plain(record['dets']).items()}
        written = {name: _write(Path(folder), name, images, record['ids']) for name, images in detections.items()}
        _check_files(vector.directory, written, report)
        rounded = {name: read_detections(str(path)) for name, path in written.items()}
        _check_curves(record['results'], detections, rounded, imdb.ground_truth(), report)
        _check_summary(record['evaluate_detections_info'], rounded, imdb.ground_truth(), report)
        roidb, released = (append_flipped_images(source.gt_roidb()) for source in (imdb, with_thin))
        check_roidb(report, roidb, record['gt_roidb_with_flips'],
                    ('image', lambda entry: Path(entry['image']).name), released, THIN)
        report.check('images to train on', len(filter_roidb(roidb)), record['filter_roidb_kept'], EXACT,
                     lambda: len(filter_roidb(roidb, keep_empty=False)), EMPTY)


def image_sizes(entries):
    """Image name without extension -> width, height."""
    return {entry['image'].rsplit('.', 1)[0]: (entry['width'], entry['height']) for entry in entries}


def write_devkit(folder, truth, names, sizes):
    """The annotations, and empty files in place of the images."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / name).mkdir(parents=True)
    (folder / 'ImageSets' / 'Main' / 'test.txt').write_text('\n'.join(names) + '\n', encoding='utf-8')
    for name in names:
        objects = ''.join(OBJECT % ((escape(item['name']), item['difficult']) + tuple(item['bbox']))
                          for item in truth.get(name, ()))
        (folder / 'Annotations' / (name + '.xml')).write_text(ANNOTATION % (sizes[name] + (objects,)),
                                                              encoding='utf-8')
        (folder / 'JPEGImages' / (name + '.jpg')).touch()


def _write(folder, name, detections, images):
    """The file of the detections of a class as the release writes it; its path."""
    path = folder / ('voc_det_%s.txt' % name)
    write_detections(str(path), [(image, detections[image]) for image in images if image in detections], **DECIMALS)
    return path


def _check_files(directory, written, report):
    """voc_det_<class>.txt, line by line."""
    for path in sorted(directory.glob('voc_det_*.txt')):
        ours = written[path.stem[len('voc_det_'):]]
        report.check(path.name, ours.read_text(encoding='utf-8').splitlines(),
                     path.read_text(encoding='utf-8').splitlines())


def _check_curves(results, detections, rounded, truth, report):
    for key, theirs in results.items():
        report.title = key
        name, thresh, metric = key.split('|')
        settings = dict(ovthresh=float(thresh), use_07_metric={'07': True, 'area': False}[metric])
        ours, released = (dict(zip(('rec', 'prec', 'ap'), voc_eval(found.get(name, {}), truth[name], **settings)))
                          for found in (detections, rounded))
        theirs = {quantity: np.array(values, dtype=np.float64) for quantity, values in theirs.items()}
        report.check_all(ours, theirs, PLAIN, lambda: released, ROUNDED)
    report.title = ''


def _check_summary(text, detections, truth, report):
    """The lines 'AP for car = 0.3078' and 'Mean AP@0.5 = 0.0494', for one threshold after the other."""
    known = r'AP for .+|Mean AP@.+|VOC07 metric\? \w+|'
    report.check('summary, other lines', [line for line in text.splitlines() if not re.fullmatch(known, line)], [])
    lines = re.findall(r'^(?:AP for (.+)|Mean AP@([0-9.]+)) = ([0-9.]+|nan)$', text, re.MULTILINE)
    use_07_metric = re.search(r'VOC07 metric\? (Y|N)', text).group(1) == 'Y'
    detections = {name: detections.get(name, {}) for name in truth}

    def ours(**switch):
        return printed_numbers(lines, detections, truth, use_07_metric=use_07_metric, **switch)
    report.check('summary, numbers', ours(), np.array([float(value) for _, _, value in lines]), PRINTED,
                 lambda: np.nan_to_num(ours(count_absent=True)), ABSENT)


def printed_numbers(lines, detections, truth, **settings):
    """Our numbers for the lines of a summary: (class, '', _) or ('', threshold, _)."""
    thresholds = [mean for _, mean, _ in lines if mean]
    metrics = evaluate_detections(detections, truth, thresholds=list(map(float, thresholds)), **settings).metrics
    numbers, current = [], iter(thresholds)
    threshold = next(current)
    for name, mean, _ in lines:
        numbers.append(metrics['mAP@%g' % float(mean) if mean else 'AP@%g/%s' % (float(threshold), name)])
        threshold = next(current, None) if mean else threshold
    return np.array(numbers)
