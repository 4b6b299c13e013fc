"""The measurement of memory: a few steps of it, and what it makes of samples."""
import json

import cv2
import numpy as np
import pytest

from experiments import memory

TINY = ['network.SMALL_CHANNELS=[4, 8, 8, 16]', 'network.SMALL_BLOCKS=1', 'TRAIN.BATCH_IMAGES=2']


def samples(megabytes):
    """One each step."""
    noted = memory.Samples(len(megabytes))
    noted.steps, noted.megabytes, noted.count = list(range(len(megabytes))), megabytes, len(megabytes)
    return noted


def test_pictures_differ_in_size_and_number_of_things_and_boxes_lie_within():
    drawn = [memory.draw_picture(np.random.RandomState(seed)) for seed in range(12)]
    assert len({image.shape for image, _ in drawn}) == 12 and len({len(things) for _, things in drawn}) > 4
    for image, things in drawn:
        for x1, y1, x2, y2 in (thing.box for thing in things):
            assert 0 <= x1 < x2 < image.shape[1] and 0 <= y1 < y2 < image.shape[0]


def test_growth_is_that_after_the_warm_up():
    # 100 samples: 25 rise by 10 MB each, then they stay at 350; the last ten lie at 353
    facts = memory.summary(samples([100 + 10 * i for i in range(25)] + [350] * 65 + [353] * 10))
    assert (facts['first'], facts['warm'], facts['last'], facts['peak'], facts['growth']) == (100, 350, 353, 353, 3)
    # 0.5 MB a step are 500 in 1000; the medians of steps 25 to 34 and 90 to 99 are 65 steps apart
    rising = memory.summary(samples([100 + 0.5 * i for i in range(100)]))
    assert rising['per 1000 steps'] == pytest.approx(500) and rising['growth'] == 32.5


def test_it_trains_and_detects_and_its_exit_status_tells_whether_memory_grew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, 'in_process', lambda function, *args: function(*args))
    monkeypatch.setattr(memory, 'PICTURES', 6)
    arguments = ['--steps', '6', '--detections', '5', '--out', str(tmp_path)] + TINY
    assert memory.main(arguments + ['--bound', '1000']) == 0
    assert memory.main(arguments + ['--bound', '-1000']) == 1
    results = json.loads((tmp_path / 'memory.json').read_text())
    # 6 pictures and their mirror images, 2 a step; the first batch is taken twice, to bind by
    assert results['training']['samples']['steps'] == list(range(7))
    assert results['detection']['summary']['steps'] == 5 and min(results['detection']['samples']['megabytes']) > 10
    assert cv2.imread(str(tmp_path / 'memory.png')) is not None
    assert 'training: steps 7.0' in capsys.readouterr().out
