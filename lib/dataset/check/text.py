"""The report of a check as text."""
import numpy as np

from lib.dataset.box_rule import counted, usage_text
from lib.dataset.check.anchors import CELL
from lib.dataset.check.report import MEANING, class_counts

EXAMPLES = 5
MANY = 0.1      # part of the objects


def set_text(report):
    """Lines about one image set."""
    data = report.data
    empty = sum(not len(picture.items) for picture in data.pictures)
    lines = ['%s (%s): %s, %d of them without objects, %s'
             % (data.name, data.format, counted(len(data.pictures), 'image'), empty,
                counted(len(report.judged.items), 'object'))]
    width = max(map(len, data.classes))
    lines += ['    %-*s %7d object%s in %s' % (width, label, objects, '' if objects == 1 else 's',
                                               counted(images, 'image'))
              for label, (objects, images) in class_counts(data).items()]
    if data.annotated:
        lines.append('    ' + usage_text(report.judged))
    if not report.decoded:
        lines.append('    the headers of the images were read, not their pixels: --pixels reads them')
    for kind, faults in report.by_kind().items():
        lines.append('  %s: %d (%s)' % (kind, len(faults), MEANING[kind]))
        lines += ['    ' + fault.text for fault in faults[:EXAMPLES]]
        lines += ['    ... and %d more' % (len(faults) - EXAMPLES)] if len(faults) > EXAMPLES else []
    return '\n'.join(lines + ([] if report.faults else ['  nothing is wrong']))


def anchor_text(objects, fit, suggestion, without=0, images=0):
    """Lines about the objects' sizes at the network's scale and how anchors fit them.

    Args:
        objects: Objects. fit: of the configured anchors. suggestion: Fit or None. without: images inside which no
            anchor lies, of how many `images`.
    """
    sides = objects.sides
    if not len(sides):
        return 'no objects to compare the anchors with'
    size, shape = np.sqrt(sides.prod(axis=1)), sides[:, 1] / sides[:, 0]
    thin = sides.min(axis=1)
    lines = ["objects at the network's scale, from the smallest to the largest (0, 10, 50, 90, 100 %):",
             '  side of a square of their area, pixels: ' + _quantiles(size), '  height / width: ' + _quantiles(shape),
             '  thinner than %d pixels, a cell of the feature map: %.1f %%' % (CELL, 100 * (thin < CELL).mean())]
    if (thin < CELL).mean() > MANY:
        lines.append('    hard to find with any anchors: SCALES %.2g times as large would leave %d %% of the objects '
                     'so thin' % (CELL / np.quantile(thin, MANY), 100 * MANY))
    lines.append(fit_text('anchors of the configuration', fit))
    lines += ['    no anchor lies inside %d of %s: %s' % (without, counted(images, 'image'), 'they train nothing')] \
        if without else []
    better = fit_text('these would fit better',
                      suggestion) if suggestion else '  no others of that number fit clearly better'
    return '\n'.join(lines + [better])


def _quantiles(values):
    return ', '.join('%.3g' % value for value in np.quantile(values, (0, 0.1, 0.5, 0.9, 1)))


def fit_text(title, fit):
    """Lines about the fit of some anchors."""
    return ('%s: network.ANCHOR_SCALES=%s network.ANCHOR_RATIOS=%s\n'
            '  IoU of an object and the best anchor inside the image: mean of the classes %.3f; '
            '0.7 reached by %.1f %%, 0.5 by %.1f %%; below 0.3: %.1f %%'
            % (title, _list(fit.scales), _list(fit.ratios), fit.mean, 100 * fit.share(0.7), 100 * fit.share(0.5),
               100 - 100 * fit.share(0.3)))


def _list(values):
    return '[%s]' % ','.join('%g' % value for value in values)
