"""Videos, cameras and network streams: read and written one frame at a time, so that their length costs no memory."""
from __future__ import annotations

import collections
import itertools
import logging
import math
import os
import threading
import time
from typing import Iterable, Iterator

import cv2
import numpy as np

from lib.errors import DatasetError
from lib.utils.console import shown
from lib.utils.limits import check_regular
from lib.utils.whole_file import whole_file

# Motion JPEG in AVI: OpenCV's wheel can write it everywhere, at any frame rate (its MPEG-4 refuses some), and thin
# lines stay sharp. Files of MPEG-4 are some five times smaller. The wheel has no H.264 encoder.
EXTENSION, SMALLER = '.avi', '.mp4'
CODECS = {EXTENSION: 'MJPG', SMALLER: 'mp4v'}
USUAL_RATE = 25.0   # frames per second of a video that does not state its rate
_REMEDY = 'Convert it to mp4, for example with ffmpeg'
NO_FRAME_FOR = 20.0     # seconds after which a stream that gives no frame is taken to have ended

logger = logging.getLogger(__name__)


def video_info(path: str | os.PathLike) -> tuple[float, int]:
    """The frame rate and the length of a video, as its header states them.

    Returns:
        rate: frames per second.
        count: number of frames; an estimate in some formats, 0 if unknown.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not a video.
    """
    capture = _open(path)
    try:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    return rate if 0 < rate < math.inf else USUAL_RATE, max(0, int(count))


def read_frames(path: str | os.PathLike, every: int = 1) -> Iterator[np.ndarray]:
    """Yield the first frame of a video and every `every`-th frame after it, upright as a player shows them.

    A video that ends more than a second early is read as far as it goes, with a warning.

    Yields:
        (H, W, 3) uint8 BGR.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not a video, or has no frame.
    """
    rate, announced = video_info(path)
    capture = _open(path)
    try:
        for number in itertools.count():
            readable, frame = capture.read() if number % every == 0 else (capture.grab(), None)
            if not readable:
                break
            if frame is not None:
                yield frame
    finally:
        capture.release()
    if number == 0:
        raise DatasetError('%s: a video without a frame that OpenCV can decode. %s' % (shown(path), _REMEDY))
    if number < announced - rate:   # more than a second is missing; what is announced may be an estimate
        logger.warning('%s: of %d frames only %d could be read. Is the file truncated?', path, announced, number)


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], rate: float) -> int:
    """Write a video. The file gets its name only when it is complete.

    All frames have the size of the first one. An odd side becomes one pixel longer: the encoder needs even sides.

    Args:
        path: ending in one of `CODECS`.
        frames: (H, W, 3) uint8 BGR each; frames of another size than the first are resized.
        rate: frames per second, kept to three decimals.
    Returns:
        number of frames.
    Raises:
        OSError: the folder cannot be written to, the disk is full, there are no frames, or the name is not UTF-8.
    """
    extension = os.path.splitext(str(path))[1]
    _check_name(path, OSError)
    with whole_file(str(path), extension) as temporary:
        count = _encode(temporary, frames, rate)
        found = _count(temporary)   # OpenCV's writer does not notice a full disk
        if not 0 < count == found:
            raise OSError('%s could not be written: %d of %d frames are in it. Is the disk full?'
                          % (shown(path), found, count))
    return count


def is_live(source: str) -> bool:
    """Whether a text names a camera ('0') or a network stream ('rtsp://...') and not a file that is there."""
    return (source.isdecimal() and len(source) < 10 or '://' in source) and not os.path.exists(source)


def read_stream(source: str) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the frames of a camera or a network stream. Those that come while the caller works are dropped.

    A thread reads the frames and keeps only the newest, so that the caller always gets the present one. The stream ends
    when it says so, or when no frame has come for `NO_FRAME_FOR` seconds.

    Args:
        source: see `is_live`.
    Yields:
        seconds since the first frame, (H, W, 3) uint8 BGR.
    Raises:
        DatasetError: the stream cannot be opened, or gives no frame.
    """
    capture = cv2.VideoCapture(int(source)) if source.isdecimal() else cv2.VideoCapture(source)
    if not capture.isOpened():
        raise DatasetError('%s: OpenCV cannot open this %s. Is it there, and not in use by another program?'
                           % (shown(source), 'camera' if source.isdecimal() else 'stream'))
    newest, arrived, ended = collections.deque(maxlen=1), threading.Condition(), threading.Event()

    def read():
        while not ended.is_set():
            readable, frame = capture.read()
            with arrived:
                if readable:
                    newest.append((time.monotonic(), frame))
                else:
                    ended.set()
                arrived.notify()
        capture.release()
    threading.Thread(target=read, daemon=True).start()
    first = None
    try:
        while True:
            with arrived:
                arrived.wait_for(lambda: newest or ended.is_set(), NO_FRAME_FOR)
                if not newest:
                    break
                moment, frame = newest.popleft()
            first = moment if first is None else first
            yield moment - first, frame
    finally:
        ended.set()
    if first is None:
        raise DatasetError('%s: no frame came within %g seconds. Is it switched on and connected?'
                           % (shown(source), NO_FRAME_FOR))


def steady(timed_frames: Iterable[tuple[float, np.ndarray]], rate: float) -> Iterator[np.ndarray]:
    """Yield frames at a fixed rate per second from pairs (seconds, frame): each is repeated until the next one."""
    written, shown_now = 0, None
    for seconds, frame in timed_frames:
        for _ in range(int(seconds * rate) - written):
            yield shown_now
        written, shown_now = max(written, int(seconds * rate)), frame
    if shown_now is not None:
        yield shown_now


def _check_name(path, error):
    """Raise `error` if the name is not UTF-8: OpenCV opens videos by name, and such a name would end the process."""
    try:
        os.fspath(path).encode('utf-8')
    except UnicodeEncodeError:
        raise error('%s: OpenCV opens a video by its name, and this name is not UTF-8 (or the locale, LC_ALL, knows '
                    'only ASCII). Rename it, or set LC_ALL=C.UTF-8' % shown(path)) from None


def _open(path):
    if not os.path.exists(path):
        raise FileNotFoundError('%s: there is no such video' % shown(os.path.abspath(path)))
    _check_name(path, DatasetError)
    check_regular(path)     # OpenCV would also accept cameras, pipes and patterns of image names
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise DatasetError('%s: expected a video, found %d bytes that OpenCV cannot read: it is damaged, truncated or '
                           'of an unknown format. %s' % (shown(path), os.path.getsize(path), _REMEDY))
    return capture


def _encode(path, frames, rate):
    """Encode frames and return their number. Errors of writing are not noticed: `_count` does that."""
    open(path, 'wb').close()    # raises if the folder cannot be written to; OpenCV does not
    writer, size, count = cv2.VideoWriter(), None, 0
    try:
        for count, frame in enumerate(frames, 1):
            size = size or frame.shape[1::-1]
            frame = _even(frame if frame.shape[1::-1] == size else cv2.resize(frame, size))
            if count == 1 and not writer.open(path, cv2.CAP_FFMPEG,
                                              cv2.VideoWriter_fourcc(*CODECS[os.path.splitext(path)[1]]), rate,
                                              frame.shape[1::-1]):
                raise OSError('%s: OpenCV cannot write a video of %d x %d pixels with %g frames a second'
                              % ((shown(path),) + size + (rate,)))
            writer.write(frame)
    finally:
        writer.release()
    return count


def _count(path):
    """The number of frames by the index at the end of the file; 0 if the file is not complete."""
    try:
        return video_info(path)[1]
    except DatasetError:
        return 0


def _even(frame):
    """The frame with even sides; the encoder would cut off the last row or column of odd ones."""
    height, width = frame.shape[:2]
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
