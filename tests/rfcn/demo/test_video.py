"""The demo on videos and cameras."""
import os
import signal

import numpy as np
import pytest

from lib.errors import DatasetError
from lib.utils import video as video_module
from lib.utils.video import read_frames, video_info
from rfcn import demo
from tests.lib.utils.test_video import Camera
from tests.rfcn.demo.conftest import lines_of


def test_a_video_whose_name_is_no_utf8_is_refused(run, video, tmp_path):
    name = str(tmp_path / os.fsdecode(b'caf\xe9.avi'))
    os.rename(video, name)
    with pytest.raises(DatasetError, match=r'caf\\xe9.avi: OpenCV opens a video by its name'):
        run('--video', name)


def test_a_camera_is_drawn_until_enough_frames_were_seen(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(video_module.cv2, 'VideoCapture', Camera)
        with pytest.raises(DatasetError, match='7: OpenCV cannot open this camera'):
            run('--video', '7')
        patched.setattr(video_module, '_count', lambda path: 3)     # what was written, which Camera cannot read
        patched.setattr(demo, 'steady', lambda timed, rate: (frame for _, frame in timed))
        out = run('--video', '0', '--frames', '3', '--thresh', '0', '--json', str(tmp_path / 'found.jsonl'))
    assert video_info(out / 'camera_0.avi')[1] == 3
    seconds = [line['seconds'] for line in lines_of(tmp_path / 'found.jsonl')]
    assert seconds[0] == 0 and seconds == sorted(seconds) and len(set(seconds)) == 3


@pytest.mark.parametrize('source', [('--video', '0'), ('--video', 'rtsp://camera/1'), ('--image', 'a.jpg')])
def test_every_so_many_frames_are_taken_of_video_files_alone(run, source):
    with pytest.raises(DatasetError, match='--every is for video files; of a camera or stream, the frames that come'):
        run(*source, '--every', '2')


def test_a_smaller_file_is_written_where_opencv_can(run, video):
    out = run('--video', video, '--mp4')
    assert [path.name for path in out.iterdir()] == ['film.mp4'] and video_info(out / 'film.mp4')[1] == 7


@pytest.mark.parametrize('option', [['--frames', '2'], ['--mp4']])
def test_options_of_videos_mean_nothing_for_images(run, picture, option):
    with pytest.raises(DatasetError, match='--frames and --mp4 are for videos'):
        run('--image', picture, *option)


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


def test_a_video_that_is_stopped_is_whole_as_far_as_it_goes_and_the_status_tells(run, video, tmp_path, monkeypatch):
    def frames(*arguments):
        for number, frame in enumerate(read_frames(*arguments)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield frame
    monkeypatch.setattr(demo, 'read_frames', frames)
    with pytest.raises(SystemExit) as end:
        run('--video', video)
    assert end.value.code == 143 and video_info(tmp_path / 'a' / 'b' / 'film.avi') == (10, 3)


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


@pytest.mark.parametrize('more, frames', [('', 7), ('--every 3', 3), ('--frames 2', 2), ('--frames 9', 7)])
def test_the_bar_ends_with_the_last_frame_that_is_taken(run, video, monkeypatch, more, frames):
    totals = []
    monkeypatch.setattr(demo, 'progress', lambda each, title, unit, total: totals.append(total) or each)
    assert video_info(run('--video', video, *more.split()) / 'film.avi')[1] == frames and totals == [frames]


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
