"""A small data set in COCO's format: reading it, results, COCO's numbers."""
import json
import re
import tempfile
from pathlib import Path

import numpy as np

from experiments.compare.report import PLAIN, Tolerance
from experiments.compare.roidb import check_roidb
from experiments.compare.vectors import plain
from lib.dataset import make_dataset
from lib.dataset.box_rule import RELEASE
from lib.dataset.coco_eval import STATISTICS

PRINTED = Tolerance('1 decimal', absolute=0.050001)
IMAGE_SET = 'val2014'
NUMBER = r'(\S.*?) +(-?[0-9.]+|nan)'  # a line of the summary


def check_coco_eval(vector, report):
    """The list of images with their objects, the results file, the 12 statistics and the printed summary."""
    record = vector.record
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), plain(record['instances']))
        imdb = make_dataset('coco', IMAGE_SET, folder, folder, classes=record['classes'], box_rule=RELEASE)
        report.check('category ids', imdb.category_ids, plain(record['class_to_coco_ind']))
        check_roidb(report, imdb.gt_roidb(), record['gt_roidb'], ('index', lambda entry: int(entry['index'])))
        all_boxes = [[np.array(dets).reshape(-1, 5) for dets in of_class] for of_class in record['all_boxes']]
        _check_results(imdb.make_results(all_boxes), plain(record['results_json']), report)
        metrics = imdb.evaluate_detections(all_boxes).metrics
    theirs = np.array([np.nan if value == -1 else value for value in record['stats12']])
    report.check('12 statistics', [metrics[name] for name in STATISTICS], theirs, PLAIN)
    _check_summary(record['info_str'], metrics, report)


def write_data(folder, instances):
    """The annotations, and empty files in place of the images."""
    (folder / 'images').mkdir()
    (folder / ('instances_%s.json' % IMAGE_SET)).write_text(json.dumps(instances), encoding='utf-8')
    for image in instances['images']:
        (folder / 'images' / image['file_name']).touch()


def _check_results(ours, theirs, report):
    """Sorted by category, image and score: in which order a file lists them means nothing."""
    ours, theirs = [sorted(results, key=lambda item: (item['category_id'], item['image_id'], -item['score']))
                    for results in (ours, theirs)]
    for key in ('image_id', 'category_id', 'bbox', 'score'):
        report.check('results, ' + key, [item[key] for item in ours], [item.pop(key) for item in theirs], PLAIN)
    report.check('results, other keys', [key for item in theirs for key in item], [])


def _check_summary(text, metrics, report):
    """AP in per cent, of all classes and of each; the other lines are a heading and the path of a file."""
    known = r'~~~~ .*|coco eval results saved to .*|%s|' % NUMBER
    report.check('summary, other lines', [line for line in text.splitlines() if not re.fullmatch(known, line)], [])
    numbers = re.findall('^%s$' % NUMBER, text, re.MULTILINE)
    ours = [100 * metrics['AP' if name == 'all' else 'AP/' + name] for name, _ in numbers]
    report.check('summary, numbers', ours, [float(value) for _, value in numbers], PRINTED)
