"""Drawing detections on any image or video."""
import json
import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from lib.dataset.voc_eval import read_detections
from lib.errors import DatasetError
from lib.utils import video as video_module
from lib.utils.video import read_frames, video_info, write_video
from rfcn import demo
from tests.conftest import ROOT


@pytest.fixture
def run(tiny_run, tmp_path):
    """A function (argument, ...) that runs the script and returns the folder it writes to."""
    def main(*arguments):
        folder = tmp_path / 'a' / 'b'
        demo.main(['--cfg', str(tiny_run / 'config.yaml'), '--params', str(tiny_run / 'tiny-0001.params'),
                   '--out', str(folder)] + list(arguments))
        return folder
    return main


def test_detections_are_drawn_on_each_image_and_listed(run, tiny_voc, tmp_path, capsys):
    pictures = [str(tiny_voc / 'JPEGImages' / name) for name in ('wide1.jpg', 'high1.jpg')]
    shutil.copy(pictures[1], str(tmp_path / 'other.bmp.jpeg'))
    folder = run('--image', pictures[0], '--image', str(tmp_path / 'other.bmp.jpeg'), '--thresh', '0.1')
    assert sorted(path.name for path in folder.iterdir()) == ['other.bmp.png', 'wide1.png']
    drawing, picture = cv2.imread(str(folder / 'wide1.png')), cv2.imread(pictures[0])
    assert drawing.shape == picture.shape and np.any(drawing != picture)
    output = capsys.readouterr().out
    assert 'wide1.jpg: ' in output and ' objects, drawn in ' in output and 'red' in output


def test_a_high_threshold_draws_nothing(run, tiny_voc, capsys):
    picture = str(tiny_voc / 'JPEGImages' / 'wide1.jpg')
    folder = run('--image', picture, '--thresh', '1')
    assert np.array_equal(cv2.imread(str(folder / 'wide1.png')), cv2.imread(picture))
    assert 'wide1.jpg: 0 objects' in capsys.readouterr().out


def test_images_that_cannot_be_read_are_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        run('--image', str(tmp_path / 'gone.jpg'))
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DatasetError, match='text.jpg'):
        run('--image', str(tmp_path / 'text.jpg'))


def test_a_drawing_that_cannot_be_written_is_named(run, tiny_voc, monkeypatch):
    monkeypatch.setattr(cv2, 'imencode', lambda *arguments: (False, None))
    with pytest.raises(OSError, match='wide1.png could not be written'):
        run('--image', str(tiny_voc / 'JPEGImages' / 'wide1.jpg'))


def test_pictures_whose_names_are_no_utf8_are_drawn_and_shown_escaped(run, tiny_voc, tmp_path, capsys):
    name = os.fsdecode(b'caf\xe9\x1b[31m.jpg')
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'wide1.jpg'), str(tmp_path / name))
    folder = run('--image', str(tmp_path / name), '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'),
                 '--voc', str(tmp_path / 'voc'), '--yolo', str(tmp_path / 'yolo'), '--coco', str(tmp_path / 'c.json'))
    assert os.listdir(os.fsencode(folder)) == [b'caf\xe9\x1b[31m.png']
    output = capsys.readouterr().out
    assert r'caf\xe9\x1b[31m.jpg: ' in output and '\x1b' not in output
    assert {line['image'] for line in lines_of(tmp_path / 'found.jsonl')} == {str(tmp_path / name)}
    assert json.loads((tmp_path / 'c.json').read_text())['images'][0]['file_name'] == str(tmp_path / name)
    assert b'caf\xe9\x1b[31m.txt' in os.listdir(os.fsencode(tmp_path / 'yolo'))


def test_a_video_whose_name_is_no_utf8_is_refused(run, video, tmp_path):
    name = str(tmp_path / os.fsdecode(b'caf\xe9.avi'))
    os.rename(video, name)
    with pytest.raises(DatasetError, match=r'caf\\xe9.avi: OpenCV opens a video by its name'):
        run('--video', name)


def test_images_of_one_name_from_several_folders_keep_their_drawings(run, tiny_voc, tmp_path):
    pictures = [tiny_voc / 'JPEGImages' / 'wide1.jpg', tmp_path / 'wide1.jpeg', tmp_path / 'wide1_2.jpg']
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'high1.jpg'), str(pictures[1]))
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'wide2.jpg'), str(pictures[2]))
    folder = run(*[word for path in pictures for word in ('--image', str(path))], '--thresh', '1')
    assert sorted(path.name for path in folder.iterdir()) == ['wide1.png', 'wide1_2.png', 'wide1_2_2.png']
    for name, path in zip(('wide1', 'wide1_2', 'wide1_2_2'), pictures):
        assert np.array_equal(cv2.imread(str(folder / (name + '.png'))), cv2.imread(str(path)))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


@pytest.fixture
def folder(tiny_voc, tmp_path):
    """A folder of two images, one with its extension in upper case, and of what is no image."""
    pictures = tmp_path / 'pictures'
    (pictures / 'sub.png').mkdir(parents=True)
    for old, new in (('wide1.jpg', 'b.JPG'), ('high1.jpg', 'a.jpg'), ('wide1.jpg', 'sub.png/c.jpg')):
        shutil.copy(str(tiny_voc / 'JPEGImages' / old), str(pictures / new))
    (pictures / 'notes.txt').write_text('no image')
    return pictures


def test_the_images_of_a_folder_are_drawn_in_the_order_of_their_names(run, folder, tmp_path, capsys):
    out = run('--image', str(folder))
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png']
    output = capsys.readouterr().out
    assert 0 < output.index('a.jpg: ') < output.index('b.JPG: ')


def test_folders_and_images_are_taken_together(run, folder, tiny_voc):
    out = run('--image', str(folder / 'sub.png'), '--image', str(tiny_voc / 'JPEGImages' / 'wide1.jpg'),
              '--image', str(folder))
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png', 'c.png', 'wide1.png']


def test_a_folder_without_images_is_named(run, folder):
    (folder / 'empty').mkdir()
    (folder / 'empty' / 'notes.txt').write_text('no image')
    with pytest.raises(DatasetError, match='empty: expected images .*jpg.* found none'):
        run('--image', str(folder / 'empty'))


def test_drawings_never_replace_an_image(run, tmp_path, tiny_voc):
    picture = tmp_path / 'a' / 'b' / 'wide.png'     # in the folder of the drawings
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), cv2.imread(str(tiny_voc / 'JPEGImages' / 'wide1.jpg')))
    before = picture.read_bytes()
    assert sorted(path.name for path in run('--image', str(picture)).iterdir()) == ['wide.png', 'wide_2.png']
    assert picture.read_bytes() == before


def test_a_bad_image_of_a_folder_stops_or_is_left_out_with_a_warning(run, folder, capsys):
    (folder / 'aa.jpg').write_text('no image')
    (folder / 'c.png').symlink_to('gone.png')
    with pytest.raises(DatasetError, match='aa.jpg'):
        run('--image', str(folder))
    out = run('--image', str(folder), '--json', str(folder / 'found.jsonl'), '--thresh', '0.1',
              'dataset.on_bad_image=skip')
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png']
    for drawing, picture in (('a.png', 'a.jpg'), ('b.png', 'b.JPG')):
        assert cv2.imread(str(out / drawing)).shape == cv2.imread(str(folder / picture)).shape
    found_in = {line['image'] for line in lines_of(folder / 'found.jsonl')}
    assert found_in == {str(folder / 'a.jpg'), str(folder / 'b.JPG')}
    assert capsys.readouterr().out.count('skipped (on_bad_image: skip)') == 2


def test_images_none_of_which_can_be_read_are_an_error_also_where_bad_ones_are_skipped(run, tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DatasetError, match='none of the 2 images could be read'):
        run('--image', str(tmp_path / 'text.jpg'), '--image', str(tmp_path / 'gone.jpg'), 'dataset.on_bad_image=skip')


def test_objects_are_written_as_lines_of_json(run, tiny_voc, tmp_path):
    picture = str(tiny_voc / 'JPEGImages' / 'wide1.jpg')
    run('--image', picture, '--json', str(tmp_path / 'found.jsonl'), '--thresh', '0.1')
    lines = lines_of(tmp_path / 'found.jsonl')
    assert [line['score'] for line in lines] == sorted((line['score'] for line in lines), reverse=True)
    for line in lines:
        assert list(line) == ['image', 'class_name', 'score', 'box'] and line['image'] == picture
        assert line['class_name'] in ('red', 'blue') and 0.1 <= line['score'] <= 1
        x1, y1, x2, y2 = line['box']
        assert 0 <= x1 <= x2 <= 95 and 0 <= y1 <= y2 <= 63


def test_a_picture_without_objects_has_a_line(run, tiny_voc, tmp_path):
    picture = str(tiny_voc / 'JPEGImages' / 'wide1.jpg')
    run('--image', picture, '--json', str(tmp_path / 'found.jsonl'), '--thresh', '1')
    assert lines_of(tmp_path / 'found.jsonl') == [{'image': picture, 'class_name': None, 'score': None, 'box': None}]


def test_a_coco_file_named_minus_is_all_of_the_standard_output(run, tiny_voc, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run('--image', str(tiny_voc / 'JPEGImages' / 'wide1.jpg'), '--thresh', '1', '--coco', '-')
    assert len(json.loads(capfd.readouterr().out)['images']) == 1
    assert not (tmp_path / '-').exists()


@pytest.mark.parametrize('more', [['--json', 'IMAGE'], ['--coco', 'IMAGE'], ['--json', 'a.json', '--coco', 'a.json']])
def test_an_image_is_not_replaced_by_what_was_found_in_it(run, tiny_voc, tmp_path, monkeypatch, more):
    image = tmp_path / 'a.jpg'
    shutil.copy(str(tiny_voc / 'JPEGImages' / 'wide1.jpg'), str(image))
    before = image.read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match='this file is read, or another option writes it'):
        run('--image', str(image), *(str(image) if word == 'IMAGE' else word for word in more))
    assert image.read_bytes() == before


def test_pictures_of_the_same_name_in_other_folders_are_two_in_each_format(run, tiny_voc, tmp_path):
    (tmp_path / 'other').mkdir()
    pictures = [str(tiny_voc / 'JPEGImages' / 'wide1.jpg'), str(tmp_path / 'other' / 'wide1.jpg')]
    shutil.copy(*pictures)
    run('--image', pictures[0], '--image', pictures[1], '--thresh', '0.1', '--voc', str(tmp_path / 'voc'), '--yolo',
        str(tmp_path / 'yolo'))
    assert (tmp_path / 'voc' / 'images.txt').read_text().split() == ['wide1', 'wide1_2']
    assert {path.name for path in (tmp_path / 'yolo').iterdir()} == {'classes.txt', 'wide1.txt', 'wide1_2.txt'}
    found = [read_detections(str(path)) for path in (tmp_path / 'voc').glob('comp4_*')]
    assert any(found) and all(np.array_equal(each.get('wide1'), each.get('wide1_2')) for each in found if each)


def test_objects_are_written_in_the_formats_of_coco_voc_and_yolo(run, tiny_voc, tmp_path):
    pictures = [str(tiny_voc / 'JPEGImages' / name) for name in ('wide1.jpg', 'empty.jpg')]
    run('--image', pictures[0], '--image', pictures[1], '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'),
        '--coco', str(tmp_path / 'found.json'), '--voc', str(tmp_path / 'voc'), '--yolo', str(tmp_path / 'yolo'))
    lines = [line for line in lines_of(tmp_path / 'found.jsonl') if line['image'] == pictures[0] and line['box']]
    assert lines
    index = COCO(str(tmp_path / 'found.json'))
    assert [(index.imgs[i]['file_name'], index.imgs[i]['width']) for i in (1, 2)] == [(pictures[0], 96),
                                                                                      (pictures[1], 80)]
    of_first = index.loadAnns(index.getAnnIds(imgIds=[1]))
    for annotation, line in zip(of_first, lines):
        x1, y1, x2, y2 = line['box']
        assert annotation['bbox'] == pytest.approx([x1, y1, x2 - x1 + 1, y2 - y1 + 1], abs=0.02)
        assert index.cats[annotation['category_id']]['name'] == line['class_name']
    for name in 'red', 'blue':
        found = read_detections(str(tmp_path / 'voc' / ('comp4_det_demo_%s.txt' % name)))
        expected = [line['box'] + [line['score']] for line in lines if line['class_name'] == name]
        np.testing.assert_allclose(found.get('wide1', np.zeros((0, 5))).reshape(-1, 5),
                                   np.reshape(expected, (-1, 5)), atol=0.02)
    assert (tmp_path / 'voc' / 'images.txt').read_text().split() == ['wide1', 'empty']
    classes = (tmp_path / 'yolo' / 'classes.txt').read_text().split()
    rows = [row.split() for row in (tmp_path / 'yolo' / 'wide1.txt').read_text().splitlines()]
    assert len(rows) == len(lines) and (tmp_path / 'yolo' / 'empty.txt').exists()
    for row, line in zip(rows, lines):
        x, y, width, height, score = map(float, row[1:])
        assert classes[int(row[0])] == line['class_name'] and score == pytest.approx(line['score'], abs=1e-5)
        x1, y1, x2, y2 = line['box']
        np.testing.assert_allclose([x * 96 - width * 48, y * 64 - height * 32], [x1, y1], atol=0.02)
        np.testing.assert_allclose([width * 96, height * 64], [x2 - x1 + 1, y2 - y1 + 1], atol=0.02)


def test_formats_of_images_are_not_for_videos(run, video, tmp_path):
    with pytest.raises(DatasetError, match='--coco, --voc and --yolo are for images'):
        run('--video', video, '--coco', str(tmp_path / 'found.json'))


class Camera:
    """Stands in for cv2.VideoCapture: 500 frames, each of its number's grey, as fast as they are read."""

    def __init__(self, source):
        self.source, self.number = source, 0

    def isOpened(self):
        return self.source == 0

    def read(self):
        time.sleep(0.002)
        self.number += 1
        return self.number < 500, np.full((64, 96, 3), min(self.number, 499) // 2, dtype=np.uint8)

    def release(self):
        """Nothing to do."""


def test_a_camera_is_drawn_until_enough_frames_were_seen(run, tmp_path, monkeypatch):
    monkeypatch.setattr(video_module.cv2, 'VideoCapture', Camera)
    with pytest.raises(DatasetError, match='7: OpenCV cannot open this camera'):
        run('--video', '7')
    monkeypatch.setattr(video_module, 'video_info', lambda path: (25, 3))   # the count of what was written
    monkeypatch.setattr(video_module, '_count', lambda path: 3)
    monkeypatch.setattr(video_module, 'steady', None)
    monkeypatch.setattr(demo, 'steady', lambda timed, rate: (frame for _, frame in timed))
    out = run('--video', '0', '--frames', '3', '--json', str(tmp_path / 'found.jsonl'))
    assert (out / 'camera_0.avi').exists()
    seconds = [line['seconds'] for line in lines_of(tmp_path / 'found.jsonl')]
    assert seconds[0] == 0 and seconds == sorted(seconds)


def test_of_a_stream_old_frames_are_dropped_while_the_reader_is_busy(monkeypatch):
    monkeypatch.setattr(video_module.cv2, 'VideoCapture', Camera)
    seen = []
    for _, frame in video_module.read_stream('0'):
        seen.append(int(frame[0, 0, 0]))
        time.sleep(0.1)
    assert seen == sorted(seen) and seen[0] < 20 and 3 <= len(seen) < 100 and max(np.diff(seen)) > 5


def test_frames_at_a_fixed_rate_repeat_those_that_stay_in_view():
    timed = [(0.0, 'a'), (0.35, 'b'), (0.4, 'c'), (0.75, 'd')]
    assert list(video_module.steady(timed, 10)) == ['a', 'a', 'a', 'b', 'c', 'c', 'c', 'd']


def test_a_smaller_file_is_written_where_opencv_can(run, video):
    out = run('--video', video, '--mp4')
    assert [path.name for path in out.iterdir()] == ['film.mp4'] and video_info(out / 'film.mp4')[1] == 7


@pytest.fixture
def video(tiny_voc, tmp_path):
    """Seven frames of 96 x 64 pixels, 10 a second."""
    picture = cv2.imread(str(tiny_voc / 'JPEGImages' / 'wide1.jpg'))
    path = str(tmp_path / 'film.avi')
    write_video(path, (np.roll(picture, 4 * n, axis=1) for n in range(7)), 10)
    return path


def test_every_frame_of_a_video_is_drawn_on(run, video, tmp_path, capsys):
    out = run('--video', video, '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'))
    assert [path.name for path in out.iterdir()] == ['film.avi'] and video_info(out / 'film.avi') == (10, 7)
    lines = lines_of(tmp_path / 'found.jsonl')
    assert {line['frame'] for line in lines} == set(range(7)) and {line['video'] for line in lines} == {video}
    for drawn, frame in zip(read_frames(out / 'film.avi'), read_frames(video)):
        assert drawn.shape == frame.shape
        assert np.abs(drawn.astype(int) - frame).max() > 100    # lines and letters, not the noise of JPEG
    output = capsys.readouterr().out
    assert 'film.avi: 7 frames, drawn in ' in output and ' red' in output


def test_a_video_without_objects_stays_as_it_is(run, video, tmp_path, capsys):
    out = run('--video', video, '--thresh', '1', '--json', str(tmp_path / 'found.jsonl'))
    for drawn, frame in zip(read_frames(out / 'film.avi'), read_frames(video)):
        assert np.abs(drawn.astype(int) - frame).mean() < 3
    assert 'objects: none' in capsys.readouterr().out
    assert lines_of(tmp_path / 'found.jsonl') == [
        {'video': video, 'frame': number, 'class_name': None, 'score': None, 'box': None} for number in range(7)]


def test_of_every_third_frame_the_drawn_video_lasts_as_long(run, video, tmp_path):
    out = run('--video', video, '--every', '3', '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'))
    rate, frames = video_info(out / 'film.avi')
    assert (rate, frames) == (pytest.approx(10 / 3.0, abs=1e-3), 3)     # frames 0, 3 and 6
    assert {line['frame'] for line in lines_of(tmp_path / 'found.jsonl')} == {0, 3, 6}


def test_a_drawn_video_does_not_replace_the_video(run, video, tmp_path):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    own = tmp_path / 'a' / 'b' / 'film.avi'
    os.link(video, str(own))
    before = own.read_bytes()
    assert sorted(path.name for path in run('--video', str(own)).iterdir()) == ['film.avi', 'film_2.avi']
    assert own.read_bytes() == before


def test_a_file_that_is_no_video_leaves_nothing(run, tmp_path):
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(DatasetError, match='text.mp4: expected a video'):
        run('--video', str(tmp_path / 'text.mp4'), '--json', str(tmp_path / 'found.jsonl'))
    with pytest.raises(FileNotFoundError, match='gone.mp4'):
        run('--video', str(tmp_path / 'gone.mp4'))
    assert list((tmp_path / 'a' / 'b').iterdir()) == [] and not list(tmp_path.glob('found*'))


def test_a_folder_that_cannot_be_made_is_named(run, video, tmp_path):
    (tmp_path / 'a').write_text('a file where --out has a folder')
    with pytest.raises(OSError) as error:
        run('--video', video)
    assert error.value.filename == str(tmp_path / 'a' / 'b')


def test_a_file_of_objects_that_cannot_be_written_is_named(run, video):
    with pytest.raises(OSError) as error:
        run('--video', video, '--json', video + '/found.jsonl')
    assert error.value.filename.startswith(video + '/found.jsonl')


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


def test_lines_of_json_go_to_the_standard_output_and_the_log_elsewhere(tiny_run, tiny_voc, tmp_path):
    done = subprocess.run([sys.executable, '-m', 'rfcn', 'demo', '--cfg', str(tiny_run / 'config.yaml'), '--params',
                           str(tiny_run / 'tiny-0001.params'), '--image', str(tiny_voc / 'JPEGImages' / 'wide1.jpg'),
                           '--out', str(tmp_path), '--json', '-', '--thresh', '0'], cwd=str(ROOT),
                          capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and all(line['image'].endswith('wide1.jpg') for line in lines) and b'drawn in' in done.stderr
