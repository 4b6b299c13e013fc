"""Videos as streams of frames: read and written one frame at a time, so that their length costs no memory."""
import itertools
import logging
import math
import os

import cv2

from lib.errors import DatasetError
from lib.utils.whole_file import whole_file

# Motion JPEG in AVI: OpenCV's wheel can write it everywhere, at any frame rate (its MPEG-4 refuses some), and thin
# lines stay sharp. The wheel has no H.264 encoder.
EXTENSION, CODEC = '.avi', 'MJPG'
USUAL_RATE = 25.0   # frames a second, of a video that does not say

logger = logging.getLogger(__name__)


def video_info(path):
    """What a video says of itself.

    Returns:
        frames a second, float; number of frames, an estimate in some formats, 0 if unknown.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no video.
    """
    capture = _open(path)
    try:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    return rate if 0 < rate < math.inf else USUAL_RATE, max(0, int(count))


def read_frames(path, every=1):
    """Yield the first frame of a video and each `every`-th after it, upright as a player shows them.

    Yields:
        (H, W, 3) uint8 BGR.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no video, or one without frames.
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
        raise DatasetError('%s: a video without a frame that OpenCV can decode' % path)
    if number < announced - rate:   # more than a second is missing; what is announced may be an estimate
        logger.warning('%s: of %d frames only %d could be read. Is the file truncated?', path, announced, number)


def write_video(path, frames, rate):
    """Write a video of the size of its first frame; an odd side becomes one pixel longer, as the encoder wants it even.

    The file has its name only once it is complete.

    Args:
        path: ending in `EXTENSION`.
        frames: iterable of (H, W, 3) uint8 BGR; those of another size than the first's are brought to it.
        rate: float, frames a second; three decimals are kept.
    Returns:
        number of frames.
    Raises:
        OSError: the folder cannot be written to, the disk is full, or there were no frames.
    """
    with whole_file(str(path), EXTENSION) as temporary:
        count = _encode(temporary, frames, rate)
        found = _count(temporary)   # OpenCV's writer does not notice a full disk
        if not 0 < count == found:
            raise OSError('%s could not be written: %d of %d frames are in it. Is the disk full?'
                          % (path, found, count))
    return count


def _open(path):
    if not os.path.exists(path):
        raise FileNotFoundError('%s: there is no such video' % os.path.abspath(path))
    # Only a file: OpenCV would also take cameras, pipes and patterns of image names.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG) if os.path.isfile(path) else None
    if capture is None or not capture.isOpened():
        raise DatasetError('%s: expected a video, found %s that OpenCV cannot read: it is damaged, truncated or of an '
                           'unknown format. Convert it to mp4, for example with ffmpeg'
                           % (path, 'what is no file' if capture is None else '%d bytes' % os.path.getsize(path)))
    return capture


def _encode(path, frames, rate):
    """Write frames without looking whether they arrive; return their number."""
    open(path, 'wb').close()    # says what is wrong with a folder; OpenCV does not
    writer, size, count = cv2.VideoWriter(), None, 0
    try:
        for count, frame in enumerate(frames, 1):
            size = size or frame.shape[1::-1]
            frame = _even(frame if frame.shape[1::-1] == size else cv2.resize(frame, size))
            if count == 1 and not writer.open(path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*CODEC), rate,
                                              frame.shape[1::-1]):
                raise OSError('%s: OpenCV cannot write a video of %d x %d pixels with %g frames a second'
                              % ((path,) + size + (rate,)))
            writer.write(frame)
    finally:
        writer.release()
    return count


def _count(path):
    """The number of frames by the index at the end of the file; 0 if it is not all there."""
    try:
        return video_info(path)[1]
    except DatasetError:
        return 0


def _even(frame):
    """The encoder would cut the last row or column off."""
    height, width = frame.shape[:2]
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
