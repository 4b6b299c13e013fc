"""The demo on the tiny data set, and a video."""
import json

import cv2
import numpy as np
import pytest

from lib.utils.video import write_video
from rfcn import demo


@pytest.fixture
def run(tiny_arguments, tmp_path):
    """A function (argument, ...) that runs the script and returns the folder it writes to."""
    def main(*arguments):
        folder = tmp_path / 'a' / 'b'
        demo.main([*tiny_arguments, '--out', str(folder)] + list(arguments))
        return folder
    return main


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


@pytest.fixture
def video(picture, tmp_path):
    """Seven frames of 96 x 64 pixels, 10 a second."""
    pixels = cv2.imread(picture)
    path = str(tmp_path / 'film.avi')
    write_video(path, (np.roll(pixels, 4 * n, axis=1) for n in range(7)), 10)
    return path
