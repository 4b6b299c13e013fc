"""The checker's page and its pictures."""
import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from lib.dataset import read_annotated
from lib.dataset.annotations import Picture
from lib.dataset.check.anchors import Objects, fit_anchors
from lib.dataset.check.page import BAD, OUTSIDE, SIDE, html_page, thumbnail
from lib.dataset.check.report import check
from lib.utils.web_page import data_uri
from tests.lib.dataset.conftest import items_of

LABELS = ('cat', 'dog')
EVIL = '<script>alert("x")</script>&'


@pytest.fixture
def picture(tmp_path):
    """A white image of 400 x 200 pixels with a box of 4 x 4 pixels and one beyond the right border."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((200, 400, 3), 255, dtype=np.uint8))
    return Picture('a', 'a.png', str(tmp_path / 'a.png'), '', None,
                   items_of((0, 0, (100, 100, 103, 103)), (7, 1, (420, 50, 460, 90))))


def test_without_a_bad_box_the_whole_image_is_shown(picture):
    small = thumbnail(picture, LABELS)
    assert small.shape == (SIDE // 2, SIDE, 3)
    assert (small == 255).all(axis=2).mean() > 0.9 and not (small == BAD).all(axis=2).any()


def test_a_small_bad_box_is_enlarged_and_red(picture):
    small = thumbnail(picture, LABELS, bad=[0])
    # Seen are 20 pixels around it: 43 pixels enlarged to SIDE, the box is 24 pixels wide.
    red = np.argwhere((small == BAD).all(axis=2))
    assert np.ptp(red, axis=0).max() >= 20 and max(small.shape) == SIDE


def test_what_lies_beyond_the_border_is_grey_and_its_box_is_seen(picture):
    small = thumbnail(picture, LABELS, bad=[7])
    assert (small == OUTSIDE).all(axis=2).mean() > 0.2
    assert (small == BAD).all(axis=2).any() and (small == 255).all(axis=2).any()


@pytest.mark.parametrize('box', [(1e9 - 1, 0, 1e9 - 1, 5), (-1e9, -1e9, 1e9, 1e9), (5, 5, -1e6, -1e6), (0, 0, 0, 0)])
def test_no_box_is_too_odd_for_a_picture(picture, box):
    small = thumbnail(picture._replace(items=items_of((0, 0, box))), LABELS, bad=[0])
    assert min(small.shape[:2]) >= 1 and max(small.shape) == SIDE


def test_an_image_that_cannot_be_read_has_no_picture(picture, tmp_path):
    assert thumbnail(picture._replace(path=''), LABELS) is None
    (tmp_path / 'a.png').write_bytes(b'none')
    assert thumbnail(picture, LABELS) is None


def test_a_picture_is_a_png_within_the_page(picture):
    kind, data = data_uri(thumbnail(picture, LABELS)).split(',')
    assert kind == 'data:image/png;base64'
    assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).shape == (SIDE // 2, SIDE, 3)


class Balance(HTMLParser):
    """Counts elements that are open."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in ('img', 'meta'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_control_characters_of_names_and_labels_are_shown_escaped(tmp_path):
    cv2.imwrite(str(tmp_path / 'a\x1b[31m.png'), np.full((20, 40, 3), 255, dtype=np.uint8))
    (tmp_path / 'train.csv').write_text('a\x1b[31m.png,1,2,9,9,cat\x07\na\x1b[31m.png,1,2,900,9,cat\x07\n')
    page = html_page('checked', 'bad', False, [check(read_annotated('csv', 'train', str(tmp_path)))])
    assert '\x1b' not in page and '\x07' not in page and r'a\x1b[31m.png' in page and r'cat\x07' in page


def test_all_text_from_the_data_is_escaped_and_no_other_file_is_needed(tmp_path):
    cv2.imwrite(str(tmp_path / '&a.png'), np.full((200, 400, 3), 255, dtype=np.uint8))
    (tmp_path / 'train.csv').write_text('&a.png,1,2,30,40,"%s"\n&a.png,1,2,1,2,<b>\n<i>.png,,,,,\n'
                                        % EVIL.replace('"', '""'))
    report = check(read_annotated('csv', 'train', str(tmp_path), ['<b>', EVIL]))
    objects = Objects(np.array([[30., 40.]]), np.full((1, 2), 50.0), np.full((1, 2), 300.0), np.ones(1))
    fit = fit_anchors(objects, (8,), (1,))
    worst = [(report.data, report.data.pictures[0], 1, 0.1)]
    page = html_page(EVIL, EVIL, False, [report], (objects, fit, fit, worst), report.faults[:1])
    assert '32 to 64' in page and '1024 and more' in page and 'inf' not in page     # of the objects' sides
    assert '<script' not in page and '<i>' not in page and '<b>.png' not in page
    assert '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;' in page and '&amp;a.png' in page
    assert not re.search(r'(src|href)="(?!data:image/(png|jpeg);base64,)', page)
    balance = Balance()
    balance.feed(page)
    assert balance.open == [] and {'table', 'img', 'pre', 'h2'} <= balance.seen
