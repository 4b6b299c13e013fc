"""Drawing detections on any image."""
import shutil

import cv2
import numpy as np
import pytest

from lib.errors import DatasetError
from rfcn import demo


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
    monkeypatch.setattr(cv2, 'imwrite', lambda path, image: False)
    with pytest.raises(OSError, match='wide1.png could not be written'):
        run('--image', str(tiny_voc / 'JPEGImages' / 'wide1.jpg'))
