"""Pictures of detections."""
import numpy as np
import pytest

from lib.utils.show_boxes import (class_colors, contact_sheet, draw_boxes, draw_detections, draw_ground_truth,
                                  plain_letters)

CLASSES = ('__background__', 'cat', 'dog')


def grey(height=100, width=120):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_colors_of_classes_are_all_different_and_do_not_depend_on_their_number():
    colors = class_colors(81)
    assert len(set(colors)) == 81 and colors[:21] == class_colors(21)


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


def test_annotated_objects_are_drawn_by_class():
    picture = draw_ground_truth(grey(), np.float32([[20, 40, 80, 90]]), np.int32([1]), CLASSES)
    assert tuple(picture[90, 50]) == class_colors(3)[1]


def test_letters_that_the_font_lacks_do_no_harm():
    assert draw_boxes(grey(), [[20, 40, 80, 90]], [(0, 0, 0)], ['Äpfel 苹果']).shape == (100, 120, 3)


def test_an_image_without_boxes_is_returned_as_it_is():
    np.testing.assert_array_equal(draw_ground_truth(grey(), np.zeros((0, 4)), [], CLASSES), grey())


def test_images_of_a_sheet_stand_in_rows_and_missing_ones_are_white():
    images = [np.full((10, 20, 3), level, dtype=np.uint8) for level in (10, 20, 30)]
    sheet = contact_sheet(images, 2, margin=1)
    assert sheet.shape == (2 * 12, 2 * 22, 3)
    assert [sheet[5, 5, 0], sheet[5, 27, 0], sheet[17, 5, 0], sheet[17, 27, 0]] == [10, 20, 30, 255]


@pytest.mark.parametrize('shape', [(10, 50), (50, 10), (4, 2)])
def test_an_image_of_another_size_is_fitted_into_its_cell(shape):
    sheet = contact_sheet([np.zeros(shape + (3,), dtype=np.uint8)], 3, cell=(30, 20), margin=2)
    assert sheet.shape == (24, 34, 3)
    rows, columns = np.nonzero((sheet == 0).all(axis=2))
    assert rows.max() + 1 - rows.min() == 20 or columns.max() + 1 - columns.min() == 30


def test_titles_stand_below_the_images():
    sheet = contact_sheet([grey(10, 60)], 1, margin=0, titles=['image 1'])
    assert sheet.shape == (28, 60, 3) and (sheet[10:] < 100).any()


def test_letters_that_the_font_lacks_lose_their_accents_or_become_question_marks():
    assert plain_letters('Crème brûlée 0.93, Übergröße, 日本') == 'Creme brulee 0.93, Ubergro?e, ??'
