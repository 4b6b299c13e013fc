"""The report of a check as an HTML page that needs no other file, with small pictures of what is wrong.

All text from the data is escaped by the functions of lib/utils/web_page.py.
"""
from __future__ import annotations

from typing import Iterable, Sequence

import cv2
import numpy as np

from lib.dataset.annotations import Picture
from lib.dataset.check.anchors import BINS, Fit, Objects
from lib.dataset.check.report import MEANING, Report, by_kind, class_counts, fit_text
from lib.dataset.faults import Fault
from lib.errors import DatasetError
from lib.utils.console import shown
from lib.utils.image_file import imread
from lib.utils.show_boxes import draw_boxes
from lib.utils.web_page import data_uri, details, heading, paragraph, table, text, web_page

PICTURES = 6        # shown for each kind of fault
LISTED = 200        # faults of each kind that are written out
SAMPLES = 6         # images shown as annotated
SIDE = 260                              # pixels, the longer side of a small picture
GOOD, BAD = (90, 170, 60), (40, 40, 230)    # colours of boxes: B, G, R
OUTSIDE = (70, 70, 70)                  # colour of what lies beyond the image's border
MARGIN = 0.25                           # of the image's shorter side: the most that is shown around a box
NAMED = 8                               # boxes; with more of them labels would hide the image and are left out


def html_page(title: str, verdict: str, good: bool, reports: Iterable[Report],
              anchors: tuple[Objects, Fit, Fit | None, list] | None = None, extra: Sequence[Fault] = (),
              max_pixels: int | None = None) -> str:
    """The page.

    Args:
        title: of the page.
        verdict: a sentence, shown first: green if `good`, red otherwise.
        good: whether training would start.
        reports: one of each image set.
        anchors: for the training images: their objects, the fit of the configured anchors, the fit of better ones or
            None, and the objects that the configured anchors fit worst: list of (AnnotatedSet, Picture, number of the
            item, IoU). None leaves the part out.
        extra: faults between the sets.
        max_pixels: images of more pixels are not shown; None shows all.
    """
    parts = ['<p class="%s"><b>%s</b></p>' % ('good' if good else 'bad', text(verdict))]
    parts += [_set_part(report, max_pixels) for report in reports]
    if extra:
        parts += [heading('Between the sets')] + [_fault_list(kind, MEANING[kind], faults, '')
                                                  for kind, faults in by_kind(extra).items()]
    if anchors:
        parts.append(_anchor_part(*anchors, max_pixels=max_pixels))
    return web_page(title, parts)


def _set_part(report, max_pixels):
    data = report.data
    counts = class_counts(data)
    parts = [heading(data.name),
             paragraph('%d images, %d of them without objects; %d objects.'
                       % (len(data.pictures), sum(not len(picture.items) for picture in data.pictures),
                          sum(len(picture.items) for picture in data.pictures))),
             _bars(('class', 'objects', 'images'), [(label,) + count for label, count in counts.items()])]
    pictures = {picture.index: picture for picture in data.pictures}
    for kind, faults in report.by_kind().items():
        parts.append(_fault_list(kind, report.meaning(kind), faults,
                                 _fault_pictures(data, pictures, faults, max_pixels)))
    chosen = np.unique(np.linspace(0, len(data.pictures) - 1, SAMPLES).astype(int))
    samples = ''.join(_figure(data, data.pictures[number], (), '', max_pixels) for number in chosen)
    parts.append('<h3>Some images as annotated</h3>' + samples)
    return '\n'.join(parts)


def _fault_list(kind, meaning, faults, pictures):
    lines = [shown(fault.text) for fault in faults[:LISTED]]
    lines += ['... and %d more' % (len(faults) - LISTED)] if len(faults) > LISTED else []
    return '<h3>%s: %d <small>(%s)</small></h3>%s%s' % (
        text(kind), len(faults), text(meaning), pictures,
        details('list', '\n'.join(lines), opened=not pictures))


def _fault_pictures(data, pictures, faults, max_pixels):
    """The images with most faults of a kind, each with all its bad boxes."""
    bad = {}
    for fault in faults:
        if fault.index in pictures:
            bad.setdefault(fault.index, []).append(fault.number)
    worst = sorted(bad, key=lambda index: -len(bad[index]))[:PICTURES]
    return ''.join(_figure(data, pictures[index], [number for number in bad[index] if number is not None], '',
                           max_pixels) for index in worst)


def _figure(data, picture, bad, note, max_pixels):
    small = thumbnail(picture, data.labels, bad, max_pixels=max_pixels)
    if small is None:
        return ''
    return '<figure class="small"><img alt="" src="%s"><figcaption>%s</figcaption></figure>' \
        % (data_uri(small), text((picture.name + ' ' + note).strip()))


def _bars(heads, rows):
    """A table with bars as long as the second column says, relative to its largest number."""
    most = max([row[1] for row in rows] + [1])
    return table(heads, rows, [row[1] / most for row in rows])


def _anchor_part(objects, fit, suggestion, worst, max_pixels):
    fits = [('anchors of the configuration', fit)] + ([('these would fit better', suggestion)] if suggestion else [])
    parts = [heading('Objects and anchors')]
    parts += ['<pre>%s</pre>' % '\n'.join(map(text, fit_text(*pair).splitlines())) for pair in fits]
    parts.append(_fit_table([each for _, each in fits], len(objects.sides)))
    parts.append('<h3>Sides of the objects at the network\'s scale, pixels</h3>' + _size_table(objects.sides))
    if worst:
        parts.append('<h3>Objects that the anchors fit worst</h3>' + ''.join(
            _figure(data, picture, [number], 'IoU %.2f' % overlap, max_pixels)
            for data, picture, number, overlap in worst))
    return '\n'.join(parts)


def _fit_table(fits, count):
    """Histograms of the best IoU side by side."""
    rows = ''
    for number in range(len(BINS) - 1):
        shares = [fit.histogram()[number] / max(count, 1) for fit in fits]
        cells = ''.join('<td class="n">%.1f %%</td><td><div class="bar%s" style="width:%dpx"></div></td>'
                        % (100 * share, ' other' if place else '', round(250 * share))
                        for place, share in enumerate(shares))
        rows += '<tr><td>IoU %.1f to %.1f</td>%s</tr>' % (BINS[number], BINS[number + 1], cells)
    return '<table>%s</table>' % rows


def _size_table(sides):
    edges = [0, 8, 16, 32, 64, 128, 256, 512, 1024]
    names = ['%d to %d' % pair for pair in zip(edges, edges[1:])] + ['%d and more' % edges[-1]]
    counts = np.histogram(np.sqrt(sides.prod(axis=1)), bins=edges + [np.inf])[0]
    return _bars(('side of a square of the same area', 'objects'), list(zip(names, counts.tolist())))


def thumbnail(picture: Picture, labels: Sequence[str], bad: Iterable[int] = (),
              max_pixels: int | None = None) -> np.ndarray | None:
    """A small picture with its boxes, the bad ones in red.

    It shows the surroundings of the first bad box, also beyond the image's border; without a bad box the whole image.

    Args:
        picture: with its items.
        labels: names of the items' labels.
        bad: numbers of the bad items.
        max_pixels: of `imread`.
    Returns:
        (h, w, 3) uint8 BGR, None if the image cannot be read.
    """
    try:
        im = imread(picture.path, max_pixels) if picture.path else None
    except (DatasetError, FileNotFoundError):
        im = None
    if im is None:
        return None
    is_bad = np.isin(picture.items['number'], list(bad))
    wrong, right = picture.items[is_bad], picture.items[~is_bad]
    view = _view(wrong[0]['box'], im.shape[:2]) if len(wrong) else (0, 0) + im.shape[1::-1]
    small, scale = _crop(im, view)
    names = not len(wrong) and len(right) <= NAMED
    small = draw_boxes(small, _seen(right, view, scale), [GOOD] * len(right),
                       [labels[item['label']] if names else '' for item in right])
    return draw_boxes(small, _seen(wrong, view, scale), [BAD] * len(wrong), [labels[item['label']] for item in wrong])


def _seen(items, view, scale):
    """Boxes of items in pixels of the small picture."""
    return list((items['box'] - view[:2] * 2 + [0, 0, 1, 1]) * scale)


def _view(box, shape):
    """Left, top, right, bottom around a box: with a margin on each side, at most half an image beyond the border."""
    corners = np.array(box).reshape(2, 2)
    height, width = shape
    margin = min(max(3 * np.ptp(corners, axis=0).max(), 20), max(4, MARGIN * min(shape)))
    limits = np.array([-width / 2, -height / 2, -width / 2, -height / 2]), np.array([1.5 * width, 1.5 * height] * 2)
    corners = np.concatenate([corners.min(axis=0) - margin, corners.max(axis=0) + margin])
    left, top, right, bottom = (int(value) for value in np.clip(corners, *limits))
    left, top = min(left, width * 3 // 4), min(top, height * 3 // 4)           # some of the image itself is seen
    return left, top, max(right, left + 4, width // 4 + 1), max(bottom, top + 4, height // 4 + 1)


def _crop(im, view):
    left, top, right, bottom = view
    scale = SIDE / max(right - left, bottom - top)
    moved = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    size = max(1, int(round((right - left) * scale))), max(1, int(round((bottom - top) * scale)))
    if (left, top) == (0, 0) and (right, bottom) == im.shape[1::-1]:
        # warpAffine has no good way to make smaller
        return cv2.resize(im, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST), scale
    flags = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(im, moved, size, flags=flags, borderValue=OUTSIDE), scale
