"""Small data sets in the formats of PASCAL VOC and COCO: reading them, writing detections, the numbers of each."""
import json
import re
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from experiments.compare.vectors import plain
from lib.bbox.bbox_transform import bbox_overlaps
from lib.dataset import make_dataset
from lib.dataset.box_rule import RELEASE
from lib.dataset.coco_eval import STATISTICS
from lib.dataset.imdb import append_flipped_images, filter_roidb
from lib.dataset.voc_eval import evaluate_detections, read_detections, voc_eval, write_detections

FRACTIONS = 'boxes are float32 and keep their fractions; the release cuts them off and keeps uint16'


def check_roidb(report, ours, theirs, identity, released=None, reason=FRACTIONS):
    """Compare entry by entry, a row for each field.

    Args:
        ours: list of entries, see `lib/dataset/imdb.py`.
        theirs: the release's, from a json.
        identity: field of theirs that says which image it is, and a function of our entry that gives the same.
        released: entries by the release's rule, if other than ours with whole-numbered boxes.
        reason: why ours differ from those.
    """
    theirs = plain(theirs)
    released = [dict(entry, boxes=entry['boxes'].astype(np.uint16)) for entry in released or ours]
    for key in sorted({key for entry in theirs for key in entry}):
        field = identity[1] if key == identity[0] else _FIELDS[key]
        join = _joined(_ROWS[key]) if key in _ROWS else list
        report.check('roidb ' + key, join([field(entry) for entry in ours]), join([entry[key] for entry in theirs]),
                     PLAIN if key == 'max_overlaps' else EXACT, lambda: join([field(entry) for entry in released]),
                     FRACTIONS if key == 'boxes_dtype' else reason)


def _joined(shape):
    """A function that joins arrays, or lists, of several images."""
    return lambda values: np.concatenate([np.reshape(value, shape) for value in values])


def _best_overlaps(entry):
    boxes = entry['boxes']
    return bbox_overlaps(boxes, boxes).max(axis=1) if len(boxes) else np.zeros(0)


_FIELDS = {key: lambda entry, key=key: entry[key] for key in ('width', 'height', 'flipped', 'gt_classes', 'boxes')}
_FIELDS['max_classes'] = _FIELDS['gt_classes']  # an object is its own best match
_FIELDS['max_overlaps'] = _best_overlaps
_FIELDS['boxes_dtype'] = lambda entry: entry['boxes'].dtype.name
_ROWS = {'boxes': (-1, 4), 'gt_classes': -1, 'max_classes': -1, 'max_overlaps': -1}  # fields with a row an object


DECIMALS = {'score_decimals': 3, 'box_decimals': 1}
ROUNDED = 'all decimals are evaluated; the release writes, and so evaluates, 3 of the score and 1 of the box'
ABSENT = 'a class without objects does not count in the mean; in the release its AP is 0 (count_absent=True)'
EMPTY = 'images without objects stay in training; the release drops them (keep_empty=False)'
THIN = 'boxes thinner than 2 pixels are not trained on; the release keeps them (min_box_side=1)'
PRINTED_VOC = Tolerance('4 decimals', absolute=0.50001e-4)
VOC_SET = '2007_test'
ANNOTATION = '<annotation><size><width>%d</width><height>%d</height></size>%s</annotation>'
OBJECT = ('<object><name>%s</name><difficult>%d</difficult><bndbox><xmin>%r</xmin><ymin>%r</ymin><xmax>%r</xmax>'
          '<ymax>%r</ymax></bndbox></object>')


def check_voc_eval(vector, report):
    """Recall, precision and AP of each class; the printed summary; the files of detections; the list of images."""
    record = vector.record
    with tempfile.TemporaryDirectory() as folder:
        write_devkit(Path(folder) / 'VOC2007', plain(record['gt']), record['ids'],
                     image_sizes(record['gt_roidb_with_flips']))
        imdb, with_thin = (make_dataset('PascalVOC', VOC_SET, folder, **more)
                           for more in ({}, {'min_box_side': 1}))
        detections = {name: {image: np.array(rows) for image, rows in images.items()}
                      for name, images in plain(record['dets']).items()}
        written = {name: _write(Path(folder), name, images, record['ids']) for name, images in detections.items()}
        _check_files(vector.directory, written, report)
        rounded = {name: read_detections(str(path)) for name, path in written.items()}
        _check_curves(record['results'], detections, rounded, imdb.ground_truth(), report)
        _check_voc_summary(record['evaluate_detections_info'], rounded, imdb.ground_truth(), report)
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
    rows = [(image, detections[image]) for image in images if image in detections]
    write_detections({str(path): rows}, **DECIMALS)
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
        absent = np.isnan(ours['ap'])
        released['ap'] = np.nan_to_num(released['ap'])  # as count_absent does
        report.check_all(ours, theirs, PLAIN, lambda: released, ABSENT if absent else ROUNDED)
    report.title = ''


def _check_voc_summary(text, detections, truth, report):
    """The lines 'AP for car = 0.3078' and 'Mean AP@0.5 = 0.0494', for one threshold after the other."""
    known = r'AP for .+|Mean AP@.+|VOC07 metric\? \w+|'
    report.check('summary, other lines', [line for line in text.splitlines() if not re.fullmatch(known, line)], [])
    lines = re.findall(r'^(?:AP for (.+)|Mean AP@([0-9.]+)) = ([0-9.]+|nan)$', text, re.MULTILINE)
    use_07_metric = re.search(r'VOC07 metric\? (Y|N)', text).group(1) == 'Y'
    detections = {name: detections.get(name, {}) for name in truth}

    def ours(**switch):
        return printed_numbers(lines, detections, truth, use_07_metric=use_07_metric, **switch)
    report.check('summary, numbers', ours(), np.array([float(value) for _, _, value in lines]), PRINTED_VOC,
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


PRINTED_COCO = Tolerance('1 decimal', absolute=0.050001)
COCO_SET = 'val2014'
NUMBER = r'(\S.*?) +(-?[0-9.]+|nan)'  # a line of the summary


def check_coco_eval(vector, report):
    """The list of images with their objects, the results file, the 12 statistics and the printed summary."""
    record = vector.record
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), plain(record['instances']))
        imdb = make_dataset('coco', COCO_SET, folder, classes=record['classes'], box_rule=RELEASE)
        report.check('category ids', imdb.category_ids, plain(record['class_to_coco_ind']))
        check_roidb(report, imdb.gt_roidb(), record['gt_roidb'], ('index', lambda entry: int(entry['index'])))
        all_boxes = [[np.array(dets).reshape(-1, 5) for dets in of_class] for of_class in record['all_boxes']]
        _check_results(imdb.make_results(all_boxes), plain(record['results_json']), report)
        metrics = imdb.evaluate_detections(all_boxes).metrics
    theirs = np.array([np.nan if value == -1 else value for value in record['stats12']])
    report.check('12 statistics', [metrics[name] for name in STATISTICS], theirs, PLAIN)
    _check_coco_summary(record['info_str'], metrics, report)


def write_data(folder, instances):
    """The annotations, and empty files in place of the images."""
    (folder / 'images').mkdir()
    (folder / ('instances_%s.json' % COCO_SET)).write_text(json.dumps(instances), encoding='utf-8')
    for image in instances['images']:
        (folder / 'images' / image['file_name']).touch()


def _check_results(ours, theirs, report):
    """Sorted by category, image and score: in which order a file lists them means nothing."""
    ours, theirs = [sorted(results, key=lambda item: (item['category_id'], item['image_id'], -item['score']))
                    for results in (ours, theirs)]
    for key in ('image_id', 'category_id', 'bbox', 'score'):
        report.check('results, ' + key, [item[key] for item in ours], [item.pop(key) for item in theirs], PLAIN)
    report.check('results, other keys', [key for item in theirs for key in item], [])


def _check_coco_summary(text, metrics, report):
    """AP in per cent, of all classes and of each; the other lines are a heading and the path of a file."""
    known = r'~~~~ .*|coco eval results saved to .*|%s|' % NUMBER
    report.check('summary, other lines', [line for line in text.splitlines() if not re.fullmatch(known, line)], [])
    numbers = re.findall('^%s$' % NUMBER, text, re.MULTILINE)
    ours = [100 * metrics['AP' if name == 'all' else 'AP/' + name] for name, _ in numbers]
    report.check('summary, numbers', ours, [float(value) for _, value in numbers], PRINTED_COCO)
