"""The page of a report, with its curves, tables and pictures.

What comes from the data is escaped by `lib.utils.web_page`, or is a number.
"""
import math
from typing import Dict, List, NamedTuple, Optional

import cv2
import numpy as np

from lib.utils.image import rescaled
from lib.utils.show_boxes import draw_boxes
from lib.utils.web_page import details, facts, figure, heading, paragraph, table, text, web_page
from rfcn.report.analysis import EXCUSED, HIT, SIZES, JudgedDetections, Objects, mean_ap

MEANING = {
    'class': 'on an object of another class',
    'place': 'of the right class, but the IoU is below 0.5',
    'both': 'near an object of another class',
    'duplicate': 'on an object that a better scored one has found',
    'background': 'on nothing',
    'missed': 'objects that nothing hits, nor mistakes in class or place',
}
WIDTH, HEIGHT = 170, 120        # pixels, of a curve
POINTS = 60                     # of a curve
COLOUR, OTHER, GRID = '#4a7fb5', '#d08a2e', '#dddddd'
MATRIX = 40                     # classes: a larger matrix is left out, its worst pairs are listed
FOUND, MISSED, WRONG, NEITHER = (60, 160, 60), (40, 40, 220), (0, 140, 255), (150, 150, 150)    # B, G, R
SIDE = 440      # pixels, the longer side of each half


class Content(NamedTuple):
    """What a page shows. Everything of a class is in the order of `classes`."""
    title: str
    facts: List                     # (name, value) of the test: images, parameters, commit, ...
    metrics: Dict[str, float]       # of the data set's own evaluation
    classes: List[str]              # without background
    objects: List[int]              # that count, of each class
    curves: List                    # analysis.Curve of each class
    sizes: Dict[str, List]          # size -> Curves
    size_objects: Dict[str, int]
    costs: Dict[str, float]         # kind of error -> mAP
    counts: Dict[str, int]          # kind of error -> how many
    matrix: np.ndarray              # analysis.confusion
    histogram: np.ndarray           # analysis.score_histogram
    thresh: float                   # score, of matrix, counts and pictures
    pictures: List                  # (im, caption)
    settings: str                   # YAML
    against: Optional[Dict]         # summary of another report


def report_page(content: Content) -> str:
    """The HTML of a report."""
    parts = [facts(content.facts), _headline(content), _of_classes(content), _of_sizes(content), _of_errors(content),
             _matrix(content), _histogram(content), _pictures(content), _curves(content),
             heading('Settings'), details('the configuration of the test', content.settings)]
    return web_page(content.title, parts)


def percent(value) -> str:
    """A share in per cent; '-' where there is none."""
    return '-' if value is None or math.isnan(value) else '%.1f' % (100 * value)


def _change(value, before):
    """The difference of two shares, with its sign."""
    if value is None or before is None or math.isnan(value) or math.isnan(before):
        return ''
    return '%+.1f' % (100 * (value - before))


def _headline(content):
    names = sorted((name for name in content.metrics if '/' not in name), key=lambda name: '_' in name)
    rows = [[name, percent(content.metrics[name])] for name in names]
    heads = ['metric', '%']
    if content.against:
        heads += ['before', 'change']
        before = content.against['metrics']
        rows = [row + [percent(before.get(name)), _change(content.metrics[name], before.get(name))]
                for name, row in zip(names, rows)]
    compared = [paragraph(_compared(content.title, content.against), note=True)] if content.against else []
    return '\n'.join([heading('How good it is')] + compared + [table(heads, rows)])


def _compared(title, against):
    """What a report is compared with."""
    words = 'Compared with %s of %s, parameters %s.' % tuple(against[key] for key in ('title', 'date', 'parameters'))
    return words if against['title'] == title else \
        words + ' Its data set has another name. With other images, the changes are not of the network alone.'


def _of_classes(content):
    """AP of each class by the data set's evaluation, the best first."""
    aps = [content.metrics.get('AP@0.5/' + name, math.nan) for name in content.classes]
    strict = next((key for key in ('AP/', 'AP@0.7/') if any(name.startswith(key) for name in content.metrics)), None)
    heads = ['class', 'objects', 'AP@0.5'] + ([strict[:-1]] if strict else [])
    before = content.against and content.against['classes']
    heads += ['change of AP@0.5'] if before else []
    order = sorted(range(len(aps)), key=lambda i: -aps[i] if aps[i] == aps[i] else math.inf)
    rows = []
    for i in order:
        name = content.classes[i]
        row = [name, content.objects[i], percent(aps[i])]
        row += [percent(content.metrics.get(strict + name))] if strict else []
        rows.append(row + ([_change(aps[i], before.get(name))] if before else []))
    bars = [aps[i] if aps[i] == aps[i] else 0 for i in order]
    return '\n'.join([heading('Average precision of each class'), table(heads, rows, bars)])


def _of_sizes(content):
    heads, rows, bars = ['objects', 'number', 'mAP@0.5'], [], []
    before = content.against and content.against['sizes']
    for name, curves in content.sizes.items():
        least, limit = SIZES[name]
        range_text = 'from %d x %d pixels' % ((least ** 0.5,) * 2) if math.isinf(limit) else \
            'below %d x %d pixels' % ((limit ** 0.5,) * 2)
        ap = mean_ap(curves)
        rows.append(['%s, %s' % (name, range_text), content.size_objects[name], percent(ap)]
                    + ([_change(ap, before.get(name))] if before else []))
        bars.append(0 if math.isnan(ap) else ap)
    return '\n'.join([heading('Small and large objects'), table(heads + (['change'] if before else []), rows, bars),
                      paragraph('Of the pixels of the image as it is in its file. mAP@0.5 here and below is the mean '
                                'area under the curves of this page.', note=True)])


def _of_errors(content):
    heads = ['kind', 'number', 'costs, mAP']
    before = content.against and content.against['costs']
    most = max([cost for cost in content.costs.values() if cost == cost] + [1e-9])
    rows = [['%s: %s' % (kind, MEANING[kind]), content.counts[kind], percent(cost)]
            + ([_change(cost, before.get(kind))] if before else []) for kind, cost in content.costs.items()]
    bars = [max(cost, 0) / most if cost == cost else 0 for cost in content.costs.values()]
    return '\n'.join([heading('What kinds of errors cost'), table(heads + (['change'] if before else []), rows, bars),
                      paragraph('Numbers: detections with a score of at least %g, but for missed objects, which no '
                                'detection of any score finds. Costs: what mAP@0.5 would gain if all errors of the '
                                'kind, at any score, were fixed and the others stayed (TIDE, Bolya et al. 2020).'
                                % content.thresh, note=True)])


def _matrix(content):
    names, matrix = ['(none)'] + content.classes, content.matrix
    totals = np.maximum(matrix.sum(axis=1), 1)
    parts = [heading('What objects are taken for')]
    if len(names) > MATRIX:
        parts.append(paragraph('Detections with a score of at least %g. A table of %d classes would be too large: '
                               'these are the pairs.' % (content.thresh, len(names) - 1), note=True))
    else:
        parts.append(paragraph('Rows: objects; the first row: detections on no object. Columns: detections with a '
                               'score of at least %g; the first column: objects without one.' % content.thresh,
                               note=True))
        head = '<tr><th></th>%s</tr>' % ''.join('<th>%s</th>' % text(name) for name in names)
        lines = [head]
        for i, row in enumerate(matrix):
            cells = ''.join('<td style="background:%s">%s</td>' % (_shade(value / totals[i], i == j), value or '')
                            for j, value in enumerate(row.tolist()))
            lines.append('<tr><th>%s</th>%s</tr>' % (text(names[i]), cells))
        parts.append('<div class="scroll"><table class="matrix">%s</table></div>' % ''.join(lines))
    mixed = [(int(matrix[i, j]), names[i], names[j]) for i in range(1, len(names)) for j in range(1, len(names))
             if i != j and matrix[i, j]]
    rows = [['%s taken for %s' % (thing, other), number] for number, thing, other in sorted(mixed, key=lambda row:
                                                                                         (-row[0],) + row[1:])[:10]]
    if rows:
        parts.append(table(('most often', 'objects'), rows))
    return '\n'.join(parts)


def _shade(share, right):
    """A colour from white on: blue for what is right, orange for what is not."""
    base = (74, 127, 181) if right else (208, 138, 46)
    return '#%02x%02x%02x' % tuple(int(255 - (255 - level) * min(share, 1) * 0.9) for level in base)


def _histogram(content):
    hits, errors = content.histogram
    bins = len(hits)
    rows = [['%.2f to %.2f' % (i / bins, (i + 1) / bins), int(hits[i]), int(errors[i]),
             percent(hits[i] / (hits[i] + errors[i]))] for i in reversed(range(bins)) if hits[i] + errors[i]]
    numbers = table(('score', 'hits', 'errors', 'hits, %'), rows)
    note = 'Blue: hits. Orange: errors. The column of the lowest scores is cut off.'
    return '\n'.join([heading('Scores'), paragraph(note, note=True), _columns(hits, errors),
                      '<details><summary>as numbers</summary>%s</details>' % numbers])


def _columns(hits, errors):
    """A drawing of columns, errors on top of hits, over scores from 0 to 1."""
    width, height = 560, 160
    step = width / len(hits)
    most = max(int((hits + errors)[1:].max(initial=1)), 1)      # the lowest scores would flatten all others
    shapes = []
    for i in range(len(hits)):
        base = height
        for count, colour in ((hits[i], COLOUR), (errors[i], OTHER)):
            tall = min(count / most * height, base)
            base -= tall
            shapes.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>'
                          % (i * step + 1, base, step - 2, tall, colour))
    for tick in range(6):
        shapes.append('<text x="%.0f" y="%d" font-size="12" text-anchor="middle">%.1f</text>'
                      % (width * tick / 5, height + 16, tick / 5))
    return '<svg viewBox="-14 -4 %d %d" width="%d" role="img" aria-label="histogram of scores">%s</svg>' \
        % (width + 28, height + 26, width + 28, ''.join(shapes))


def _pictures(content):
    if not content.pictures:
        return ''
    note = ('Left the objects: green found, red missed, grey need not be found. Right the detections with a score of '
            'at least %g: green hits, orange errors, grey neither.' % content.thresh)
    return '\n'.join([heading('Pictures with the most mistakes'), paragraph(note, note=True)]
                     + [figure(im, caption) for im, caption in content.pictures])


def _curves(content):
    drawn = [_curve(name, each) for name, each in zip(content.classes, content.curves) if each.ap == each.ap]
    return '\n'.join([heading('Precision against recall'),
                      paragraph('At IoU 0.5; the number is the area under the curve.', note=True),
                      '<div class="grid">%s</div>' % ''.join(drawn)])


def _curve(name, each):
    """A small drawing of the curve of a class."""
    hits = np.flatnonzero(np.diff(each.recall, prepend=0) > 0)
    chosen = hits[np.unique(np.linspace(0, len(hits) - 1, POINTS).astype(int))] if len(hits) else hits
    from_left = [(0, each.precision[chosen[0]])] if len(chosen) else []       # or a single hit would draw nothing
    along = from_left + list(zip(each.recall[chosen], each.precision[chosen]))
    points = ' '.join('%.1f,%.1f' % (WIDTH * recall, HEIGHT * (1 - precision)) for recall, precision in along)
    grid = ''.join('<path d="M0 %g H%d M%g 0 V%d" stroke="%s"/>' % (HEIGHT * part, WIDTH, WIDTH * part, HEIGHT, GRID)
                   for part in (0, 0.25, 0.5, 0.75, 1))
    return ('<svg viewBox="-3 -20 %d %d" width="%d" role="img" aria-label="%s"><text y="-6" font-size="13">%s %s</text>'
            '%s<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/></svg>'
            % (WIDTH + 6, HEIGHT + 24, WIDTH + 6, text(name), text(name), percent(each.ap), grid, points, COLOUR))


def objects_and_detections(im, image: int, objects: Objects, judged: JudgedDetections, classes, thresh: float):
    """One image of a report.

    Left the objects: green if a detection of at least that score hits it, else red; grey if it need not be found. Right
    the detections: green hits, orange errors, grey what counts as neither.

    Args:
        im: (H, W, 3) uint8 BGR. image: its number in `objects` and `judged`. classes: names, the background first.
    Returns:
        (h, w, 3) uint8.
    """
    scale = SIDE / max(im.shape[:2])
    small = rescaled(im, scale, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rows = np.flatnonzero((judged.images == image) & (judged.scores >= thresh))[::-1]      # the best one on top
    things = np.flatnonzero(objects.images == image)
    hit = set(judged.targets[rows[judged.verdicts[rows] == HIT]].tolist())
    truth = draw_boxes(small, _scaled(objects.boxes[things], scale),
                       [NEITHER if objects.excused[thing] else FOUND if thing in hit else MISSED for thing in things],
                       [classes[objects.labels[thing]] for thing in things])
    colours = {HIT: FOUND, EXCUSED: NEITHER}
    found = draw_boxes(small, _scaled(judged.boxes[rows], scale),
                       [colours.get(verdict, WRONG) for verdict in judged.verdicts[rows].tolist()],
                       ['%s %.2f' % (classes[judged.labels[row]], judged.scores[row]) for row in rows])
    gap = np.full((small.shape[0], 6, 3), 255, dtype=np.uint8)
    return np.hstack((truth, gap, found))


def _scaled(boxes, scale):
    """Boxes in pixels of the small image."""
    return (boxes + [0, 0, 1, 1]) * scale - [0, 0, 1, 1]
