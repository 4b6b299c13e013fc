"""Drawing detections on images and folders, and the arguments of the demo."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from lib.errors import DatasetError
from tests.rfcn.demo.conftest import lines_of


def test_detections_are_drawn_on_each_image_and_listed(run, tiny_voc, tmp_path, capsys):
    pictures = [str(tiny_voc / 'JPEGImages' / name) for name in ('wide1.jpg', 'high1.jpg')]
    shutil.copy(pictures[1], str(tmp_path / 'other.bmp.jpeg'))
    folder = run('--image', pictures[0], '--image', str(tmp_path / 'other.bmp.jpeg'), '--thresh', '0.1')
    assert sorted(path.name for path in folder.iterdir()) == ['other.bmp.png', 'wide1.png']
    drawing, picture = cv2.imread(str(folder / 'wide1.png')), cv2.imread(pictures[0])
    assert drawing.shape == picture.shape and np.any(drawing != picture)
    output = capsys.readouterr().out
    assert 'wide1.jpg: ' in output and ' objects, drawn in ' in output and 'red' in output


def test_a_high_threshold_draws_nothing(run, picture, capsys):
    folder = run('--image', picture, '--thresh', '1')
    assert np.array_equal(cv2.imread(str(folder / 'wide1.png')), cv2.imread(picture))
    assert 'wide1.jpg: 0 objects with a score of 1 or more (--thresh), drawn in ' in capsys.readouterr().out


def test_images_that_cannot_be_read_are_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        run('--image', str(tmp_path / 'gone.jpg'))
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DatasetError, match='text.jpg') as caught:
        run('--image', str(tmp_path / 'text.jpg'))
    assert 'on_bad_image' not in str(caught.value)      # nothing would be left


def test_a_video_is_told_its_option(run, video):
    with pytest.raises(DatasetError, match='--image .*film.avi: this is a video: give it with --video'):
        run('--image', video)


def test_a_drawing_that_cannot_be_written_is_named(run, picture, monkeypatch):
    monkeypatch.setattr(cv2, 'imencode', lambda *arguments: (False, None))
    with pytest.raises(OSError, match='wide1.png could not be written as .png: OpenCV cannot encode 96 x 64 pixels'):
        run('--image', picture)


def test_pictures_whose_names_are_no_utf8_are_drawn_and_shown_escaped(run, picture, tmp_path, capsys):
    name = os.fsdecode(b'caf\xe9\x1b[31m.jpg')
    shutil.copy(picture, str(tmp_path / name))
    folder = run('--image', str(tmp_path / name), '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'),
                 '--voc', str(tmp_path / 'voc'), '--yolo', str(tmp_path / 'yolo'), '--coco', str(tmp_path / 'c.json'))
    assert os.listdir(os.fsencode(folder)) == [b'caf\xe9\x1b[31m.png']
    output = capsys.readouterr().out
    assert r'caf\xe9\x1b[31m.jpg: ' in output and '\x1b' not in output
    assert {line['image'] for line in lines_of(tmp_path / 'found.jsonl')} == {str(tmp_path / name)}
    assert json.loads((tmp_path / 'c.json').read_text())['images'][0]['file_name'] == str(tmp_path / name)
    assert b'caf\xe9\x1b[31m.txt' in os.listdir(os.fsencode(tmp_path / 'yolo'))


def test_images_of_one_name_from_several_folders_keep_their_drawings(run, tiny_voc, tmp_path):
    pictures = [tiny_voc / 'JPEGImages' / 'wide1.jpg', tmp_path / 'wide1.jpeg', tmp_path / 'wide1_2.jpg']
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'high1.jpg'), str(pictures[1]))
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'wide2.jpg'), str(pictures[2]))
    folder = run(*[word for path in pictures for word in ('--image', str(path))], '--thresh', '1')
    assert sorted(path.name for path in folder.iterdir()) == ['wide1.png', 'wide1_2.png', 'wide1_2_2.png']
    for name, path in zip(('wide1', 'wide1_2', 'wide1_2_2'), pictures):
        assert np.array_equal(cv2.imread(str(folder / (name + '.png'))), cv2.imread(str(path)))


@pytest.fixture
def folder(tiny_voc, tmp_path):
    """A folder of two images, one with its extension in upper case, and of what is no image."""
    pictures = tmp_path / 'pictures'
    (pictures / 'sub.png').mkdir(parents=True)
    for old, new in (('wide1.jpg', 'b.JPG'), ('high1.jpg', 'a.jpg'), ('wide1.jpg', 'sub.png/c.jpg')):
        shutil.copy(str(tiny_voc / 'JPEGImages' / old), str(pictures / new))
    (pictures / 'notes.txt').write_text('no image')
    return pictures


def test_the_images_of_a_folder_are_drawn_in_the_order_of_their_names(run, folder, capsys):
    out = run('--image', str(folder))
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png']
    output = capsys.readouterr().out
    assert 0 < output.index('a.jpg: ') < output.index('b.JPG: ')


def test_folders_and_images_are_taken_together(run, folder, picture):
    out = run('--image', str(folder / 'sub.png'), '--image', picture,
              '--image', str(folder))
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png', 'c.png', 'wide1.png']


def test_a_folder_without_images_is_named(run, folder):
    (folder / 'empty').mkdir()
    (folder / 'empty' / 'notes.txt').write_text('no image')
    with pytest.raises(DatasetError, match='empty: expected images .*jpg.* found none'):
        run('--image', str(folder / 'empty'))


def test_drawings_never_replace_an_image(run, tmp_path, picture):
    wide = tmp_path / 'a' / 'b' / 'wide.png'    # in the folder of the drawings
    wide.parent.mkdir(parents=True)
    cv2.imwrite(str(wide), cv2.imread(picture))
    before = wide.read_bytes()
    assert sorted(path.name for path in run('--image', str(wide)).iterdir()) == ['wide.png', 'wide_2.png']
    assert wide.read_bytes() == before


def test_a_bad_image_of_a_folder_stops_or_is_left_out_with_a_warning(run, folder, capsys):
    (folder / 'aa.jpg').write_text('no image')
    (folder / 'c.png').symlink_to('gone.png')
    with pytest.raises(DatasetError, match='aa.jpg: .*Or do without such images: dataset.on_bad_image=skip'):
        run('--image', str(folder))
    out = run('--image', str(folder), '--json', str(folder / 'found.jsonl'), '--thresh', '0.1',
              'dataset.on_bad_image=skip')
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png']
    for drawing, picture in (('a.png', 'a.jpg'), ('b.png', 'b.JPG')):
        assert cv2.imread(str(out / drawing)).shape == cv2.imread(str(folder / picture)).shape
    found_in = {line['image'] for line in lines_of(folder / 'found.jsonl')}
    assert found_in == {str(folder / 'a.jpg'), str(folder / 'b.JPG')}
    assert capsys.readouterr().out.count('skipped: ') == 2


def test_images_none_of_which_can_be_read_are_an_error_also_where_bad_ones_are_skipped(run, tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DatasetError, match='none of the 2 images could be read'):
        run('--image', str(tmp_path / 'text.jpg'), '--image', str(tmp_path / 'gone.jpg'), 'dataset.on_bad_image=skip')


@pytest.mark.parametrize('arguments, said', [
    ([], 'one of the arguments --image --video is required'),
    (['--image', 'a.jpg', '--video', 'b.mp4'], 'argument --video: not allowed with argument --image'),
    (['--video', 'b.mp4', '--every', '0'], "argument --every: expected a whole number from 1, not '0'"),
    (['--video', 'b.mp4', '--every', 'x'], "argument --every: expected a whole number from 1, not 'x'"),
    (['--image', 'a.jpg', '--thresh', '7'], "argument --thresh: expected a number from 0 to 1, not '7'"),
    (['--image', 'a.jpg', '--thresh', 'nan'], "argument --thresh: expected a number from 0 to 1, not 'nan'"),
    (['--image', 'a.jpg', '--thresh', '-1'], "argument --thresh: expected a number from 0 to 1, not '-1'")])
def test_wrong_arguments_are_told(run, capsys, arguments, said):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert said in capsys.readouterr().err
