"""HTML pages that need no other file and open from disk. All text that the functions are given is escaped."""
from __future__ import annotations

import base64
from html import escape
from typing import Collection, Iterable, Sequence

import cv2
import numpy as np

from lib.utils.console import shown

JPEG_QUALITY = 88

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>%s</title><style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2, p { overflow-wrap: anywhere }
h2 { border-bottom: 1px solid #ccc; margin-top: 2em } table { border-collapse: collapse }
td, th { padding: 1px 12px 1px 0; text-align: left } th.n { text-align: right }
td.n { text-align: right; font-variant-numeric: tabular-nums } .bar { background: #4a7fb5; height: 11px }
:root { --bar: min(300px, 25vw) }
@media (max-width: 600px) { :root { --bar: 12vw } td, th { padding-right: 8px } }
.other { background: #d08a2e } .good { color: #2a7a2a } .bad { color: #b02020 }
figure.small { width: 260px; font-size: 12px; overflow-wrap: anywhere }
.chosen td { font-weight: 600 } p.note { color: #555 } small { color: #555 }
figcaption { width: 0; min-width: 100%% }
figure { display: inline-block; margin: 0 14px 14px 0; vertical-align: top; max-width: 100%% }
figcaption { font-size: 13px; color: #555; max-width: 46em; overflow-wrap: anywhere }
img, svg { max-width: 100%%; height: auto } .scroll { overflow-x: auto; margin: 6px 0 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px }
.grid { display: flex; flex-wrap: wrap; gap: 10px } summary { cursor: pointer }
.facts td { overflow-wrap: anywhere; vertical-align: top } .facts td:first-child { min-width: 6em; color: #555 }
table.matrix { margin-bottom: 12px }
table.matrix td { min-width: 2em; padding: 2px 5px; text-align: right; font-size: 12px }
table.matrix th { font-size: 12px; padding: 2px 5px }
</style></head><body>
%s
</body></html>
"""


def web_page(title: str, parts: Iterable[str]) -> str:
    """A page. The parts are HTML, made by the functions below."""
    return _PAGE % (text(title), '\n'.join(['<h1>%s</h1>' % text(title)] + list(parts)))


def text(value: object) -> str:
    """The text of a value, with control characters and markup escaped."""
    return escape(shown(value))


def heading(value: object) -> str:
    """The title of a part of the page."""
    return '<h2>%s</h2>' % text(value)


def paragraph(value: object, note: bool = False) -> str:
    """A paragraph of text; as a note in a paler colour."""
    return '<p%s>%s</p>' % (' class="note"' if note else '', text(value))


def figure(im: np.ndarray, caption: str) -> str:
    """A picture, (H, W, 3) uint8 BGR, with its caption."""
    return '<figure><img alt="%s" width="%d" src="%s"><figcaption>%s</figcaption></figure>' \
        % (text(caption), im.shape[1], data_uri(im), text(caption))


def data_uri(im: np.ndarray) -> str:
    """A picture as a text that a page can hold, png or jpg, whichever is smaller."""
    files = [('png', cv2.imencode('.png', im)[1]),
             ('jpeg', cv2.imencode('.jpg', im, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])]
    kind, data = min(files, key=lambda file: len(file[1]))
    return 'data:image/%s;base64,%s' % (kind, base64.b64encode(data.tobytes()).decode('ascii'))


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """A table of names and values, a pair per line."""
    return '<table class="facts">%s</table>' % ''.join('<tr><td>%s</td><td>%s</td></tr>' % (text(name), text(value))
                                                       for name, value in pairs)


def details(summary: str, value: str, opened: bool = False) -> str:
    """Lines of text below a summary; they are hidden until a click on it, unless `opened`."""
    lines = '\n'.join(text(line) for line in value.splitlines())
    return '<details%s><summary>%s</summary><pre>%s</pre></details>' % (' open' * opened, text(summary), lines)


def table(heads: Sequence[str], rows: Iterable[Sequence], bars: Sequence[float] | None = None,
          chosen: Collection[int] = ()) -> str:
    """A table, whose columns after the first are aligned as numbers.

    Args:
        heads: a heading for each column.
        rows: a value for each column.
        bars: for each row the length, 0 to 1, of a bar at its end; None for no bars.
        chosen: indices of the rows in bold.
    """
    lines = ['<tr>%s</tr>' % ''.join('<th%s>%s</th>' % (' class="n"' if column else '', text(head))
                                     for column, head in enumerate(heads))]
    for number, row in enumerate(rows):
        cells = ''.join('<td%s>%s</td>' % (' class="n"' if column else '', text(value))
                        for column, value in enumerate(row))
        bar = '' if bars is None else \
            '<td><div class="bar" style="width:calc(%.3f * var(--bar))"></div></td>' % bars[number]
        lines.append('<tr%s>%s%s</tr>' % (' class="chosen"' if number in chosen else '', cells, bar))
    return '<div class="scroll"><table>%s</table></div>' % ''.join(lines)
