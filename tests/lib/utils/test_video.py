"""Videos, frame by frame."""
import logging
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.errors import DatasetError
from lib.utils import video as video_module
from lib.utils.limits import NoInput
from lib.utils.video import is_live, read_frames, video_info, write_video
from tests.conftest import ROOT


def grey(level, height=48, width=64):
    """A frame of one grey; each has another, so that the order shows."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def levels(path, every=1):
    return [int(round(frame.mean())) for frame in read_frames(path, every)]


@pytest.fixture
def video(tmp_path):
    """Ten frames of 64 x 48 pixels, the n-th of the grey 20 n, 12.5 a second."""
    path = str(tmp_path / 'v.avi')
    assert write_video(path, (grey(20 * n) for n in range(10)), 12.5) == 10
    return path


@pytest.mark.parametrize('source, expected', [
    ('0', True), ('rtsp://camera/1', True), ('a.mp4', False), ('\u00b2', False), ('9' * 10, False)])
def test_a_number_or_an_address_is_a_stream_and_a_sign_that_only_looks_like_a_number_is_none(source, expected):
    assert is_live(source) is expected


def test_a_file_whose_name_is_a_number_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_live('0')
    (tmp_path / '0').touch()
    assert not is_live('0')


def test_frames_come_back_in_order_with_their_size_and_rate(video):
    assert video_info(video) == (12.5, 10)
    assert levels(video) == pytest.approx([20 * n for n in range(10)], abs=2)     # JPEG is not exact
    assert {frame.shape for frame in read_frames(video)} == {(48, 64, 3)}


@pytest.mark.parametrize('every, expected', [(2, [0, 40, 80, 120, 160]), (4, [0, 80, 160]), (9, [0, 180]), (99, [0])])
def test_every_nth_frame_begins_with_the_first(video, every, expected):
    assert levels(video, every) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize('rate', [30000 / 1001.0, 143.857, 0.5, 1000.0])
def test_any_frame_rate_is_kept_to_three_decimals(tmp_path, rate):
    write_video(tmp_path / 'v.avi', [grey(0)] * 3, rate)
    assert video_info(tmp_path / 'v.avi') == (pytest.approx(rate, abs=1e-3), 3)


def test_an_mpeg4_file_is_read(tmp_path):
    path = str(tmp_path / 'v.mp4')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for n in range(5):
        writer.write(grey(50 * n))
    writer.release()
    assert video_info(path) == (10, 5) and levels(path) == pytest.approx([0, 50, 100, 150, 200], abs=5)


@pytest.mark.parametrize('side', [(1, 1), (47, 64), (48, 63)])
def test_an_odd_side_becomes_one_pixel_longer_and_nothing_is_cut_off(tmp_path, side):
    height, width = side
    frame = grey(0, height, width)
    frame[-1, :] = frame[:, -1] = 255
    write_video(tmp_path / 'v.avi', [frame], 25)
    written, = read_frames(tmp_path / 'v.avi')
    assert written.shape[:2] == (height + height % 2, width + width % 2)
    assert written[-1].min() > 200 and written[:, -1].min() > 200


def test_frames_of_another_size_are_brought_to_that_of_the_first(tmp_path):
    write_video(tmp_path / 'v.avi', [grey(100), grey(200, 20, 90)], 25)
    assert [frame.shape for frame in read_frames(tmp_path / 'v.avi')] == [(48, 64, 3)] * 2
    assert levels(tmp_path / 'v.avi') == pytest.approx([100, 200], abs=2)


def test_no_more_than_some_frames_are_in_memory(tmp_path):
    path = str(tmp_path / 'v.avi')
    tracemalloc.start()     # NumPy reports its arrays to it, those of OpenCV too
    try:
        write_video(path, (grey(0, 480, 640) for _ in range(40)), 25)
        assert sum(1 for _ in read_frames(path)) == 40
        assert 1 < tracemalloc.get_traced_memory()[1] / (480 * 640 * 3) < 6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('content', [b'', b'no video', b'GIF89a', b'RIFF\x00\x00\x00\x00AVI '])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    path = tmp_path / 'v.mp4'
    path.write_bytes(content)
    with pytest.raises(DatasetError, match='v.mp4: expected a video, found %d bytes' % len(content)):
        next(read_frames(str(path)))
    with pytest.raises(DatasetError, match='v.mp4: expected a video'):
        video_info(str(path))


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.mp4: there is no such video'):
        video_info(str(tmp_path / 'gone.mp4'))
    with pytest.raises(NoInput, match='a regular file is expected, this is a folder'):
        video_info(str(tmp_path))


def test_a_video_without_frames_is_named(tmp_path):
    path = str(tmp_path / 'none.avi')
    cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48)).release()
    assert video_info(path) == (25, 0)
    with pytest.raises(DatasetError, match='none.avi: a video without a frame .* Convert it to mp4'):
        next(read_frames(path))


def test_a_truncated_video_is_read_as_far_as_it_goes_with_a_warning(tmp_path, caplog):
    path = tmp_path / 'v.avi'
    rng = np.random.RandomState(0)
    write_video(path, (rng.randint(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(100)), 10)
    assert sum(1 for _ in read_frames(path)) == 100 and not caplog.records
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        assert 30 < sum(1 for _ in read_frames(path)) < 60
    assert 'v.avi: of 100 frames only' in caplog.text and 'truncated' in caplog.text


def test_an_error_while_frames_are_made_leaves_the_old_video_and_no_other_file(video, tmp_path):
    before = Path(video).read_bytes()

    def frames():
        yield grey(0)
        raise RuntimeError('no more')
    with pytest.raises(RuntimeError, match='no more'):
        write_video(video, frames(), 25)
    assert [path.name for path in tmp_path.iterdir()] == ['v.avi'] and Path(video).read_bytes() == before


@pytest.mark.parametrize('frames, rate, said', [
    ([], 25, '0 of 0 frames'), ([grey(0)], 0, 'of 64 x 48 pixels with 0 frames'),
    ([grey(0)], 1e-5, 'OpenCV cannot write a video of')])
def test_a_video_that_cannot_be_is_refused(tmp_path, frames, rate, said):
    with pytest.raises(OSError, match=said):
        write_video(tmp_path / 'v.avi', frames, rate)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(video):
    with pytest.raises(OSError) as error:
        write_video(video + '/w.avi', [grey(0)], 25)
    assert error.value.filename.startswith(video + '/w.avi') and error.value.strerror == 'Not a directory'


ROOM = """
import resource, sys
import numpy as np
from lib.utils.video import write_video
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
rng = np.random.RandomState(0)
try:
    write_video(sys.argv[1], (rng.randint(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(200)), 25)
    print('written')
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_noticed_wherever_it_ends(tmp_path):
    def write(room):
        return subprocess.run([sys.executable, '-c', ROOM, str(tmp_path / 'v.avi'), str(room)], cwd=str(ROOT),
                              check=True, stdout=subprocess.PIPE, text=True).stdout
    assert write(10 ** 7) == 'written\n'
    size = (tmp_path / 'v.avi').stat().st_size
    (tmp_path / 'v.avi').unlink()
    for room in (0, 1000, size // 2, size - 1):     # the index of the frames is the end of the file
        assert 'v.avi could not be written' in write(room)
        assert list(tmp_path.iterdir()) == []
    assert write(size) == 'written\n'


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
