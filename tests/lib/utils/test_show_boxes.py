"""Pictures of detections."""
import numpy as np
import pytest

from lib.utils import show_boxes
from lib.utils.show_boxes import class_colors, draw_boxes, draw_detections, put_text, text_size

CLASSES = ('__background__', 'cat', 'dog')


def grey(height=100, width=120):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_colors_of_classes_are_all_different_and_do_not_depend_on_their_number():
    colors = class_colors(600)
    assert len(set(colors)) == 600 and colors[:21] == class_colors(21)


def test_a_detection_is_framed_in_the_color_of_its_class_and_the_image_itself_is_untouched():
    im = grey()
    picture = draw_detections(im, [None, [], np.array([[20, 40, 80, 90, 0.9]])], CLASSES)
    for x, y in ((20, 60), (80, 60), (50, 90)):
        assert tuple(picture[y, x]) == class_colors(3)[2]
    assert tuple(picture[65, 50]) == (128, 128, 128)
    assert (im == 128).all()


def test_detections_below_the_threshold_and_those_of_the_background_are_not_drawn():
    dets = np.array([[20, 40, 80, 90, 0.4]])
    assert (draw_detections(grey(), [dets, dets, []], CLASSES, thresh=0.5) == 128).all()


def test_the_label_of_a_box_at_the_border_stays_inside_the_image():
    for box in ([0, 0, 119, 99], [110, 0, 119, 20], [90, 95, 119, 99], [-50, 20, -10, 40], [1e9, 50, 2e9, 90]):
        picture = draw_boxes(grey(), [box], [(0, 0, 255)], ['dog 0.99'])
        assert (picture == (0, 0, 255)).all(axis=2).sum() > 300


def test_lines_are_as_thick_as_a_250th_of_the_shorter_side():
    pictures = [draw_boxes(grey(1250, 1300), [[200, 300, 700, 800]], [(0, 0, 255)], [''], line)
                for line in (None, 5, 3)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize('color, expected', [((0, 255, 255), 0), ((0, 255, 0), 0), ((0, 0, 255), 255),
                                             ((255, 0, 0), 255)])
def test_a_label_is_black_on_yellow_and_green_and_white_on_red_and_blue(color, expected):
    picture = draw_boxes(grey(), [[20, 40, 80, 90]], [color], ['dog 0.99'])
    assert {other for other in (0, 255) if (picture == other).all(axis=2).any()} == {expected}


def test_an_image_without_boxes_is_returned_as_it_is():
    np.testing.assert_array_equal(draw_boxes(grey(), np.zeros((0, 4)), [], []), grey())


def ink(text, size=24):
    """The rows and columns of the pixels that a text covers."""
    im = np.full((40, 300, 3), 255, dtype=np.uint8)
    put_text(im, text, 0, 0, size, (0, 0, 0))
    return im[:, :, 0] < 128


@pytest.mark.parametrize('text', ['caf\u00e9', '\u0441\u043e\u0431\u0430\u043a\u0430', '\u03b3\u03ac\u03c4\u03b1',
                                  '\u05db\u05dc\u05d1', '\u0627\u0644'])
def test_alphabets_are_drawn_in_their_own_letters(text):
    # Each letter looks unlike its neighbours, as boxes for missing letters would not, and unlike its escape.
    letters = [ink(letter) for letter in dict.fromkeys(text)]
    assert all(letter.any() for letter in letters)
    assert all(not np.array_equal(one, other) for i, one in enumerate(letters) for other in letters[:i])
    assert not np.array_equal(ink(text), ink(text.encode('unicode_escape').decode()))


def test_a_letter_that_no_font_has_is_an_escape_and_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(show_boxes, '_other_fonts', list)
    show_boxes._font_of.cache_clear(), show_boxes._opacity.cache_clear()
    try:
        assert np.array_equal(ink('\u72d7 1'), ink('\\u72d7 1')) and ink('\u72d7 1').any()
        assert caplog.text.count('no font of this machine has the letter') == 1 and 'U+72D7' in caplog.text
    finally:
        show_boxes._font_of.cache_clear(), show_boxes._opacity.cache_clear()


def test_other_fonts_of_the_machine_are_asked_for_letters_that_the_first_lacks(monkeypatch):
    default = show_boxes._default()
    monkeypatch.setattr(show_boxes, '_other_fonts', lambda: ['second.ttf'])
    monkeypatch.setattr(show_boxes, '_letters', lambda path: {ord('a')} if path == default else {ord('\u72d7')})
    show_boxes._font_of.cache_clear()
    try:
        assert [show_boxes._font_of(letter) for letter in 'a\u72d7'] == [default, 'second.ttf']
    finally:
        show_boxes._font_of.cache_clear()


def test_control_characters_of_a_name_are_drawn_escaped():
    assert np.array_equal(ink('a\x1b[31m'), ink('a\\x1b[31m'))
    assert text_size('a\udcff', 20) == text_size('a\\xff', 20)


@pytest.mark.parametrize('left, top', [(-10, -5), (115, 95), (500, 0), (0, -300)])
def test_text_that_leaves_the_image_is_cut_off(left, top):
    im = grey()
    put_text(im, 'dog 0.99', left, top, 20, (0, 0, 0))
    assert im.shape == (100, 120, 3) and im.min() >= 0
