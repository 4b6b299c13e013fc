"""The curves of a run: read from whatever the training loop has written so far."""
import json

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.plot_curves import draw_rate, plot_curves, read_records, smoothed, training_curves, validation_curves
from lib.errors import DatasetError, UserError


def train(epoch, step, **losses):
    """A record of the training loop."""
    return dict(type='train', epoch=epoch, step=step, lr=0.01, images_per_s=80., RPNAcc=0.9, **losses)


def write(path, records, tail=''):
    """Write records as JSON lines and `tail` after them."""
    path.write_text(''.join(json.dumps(record) + '\n' for record in records) + tail)
    return path


def test_the_log_is_not_replaced_by_its_picture(tmp_path):
    path = write(tmp_path / 'log.png', [train(1, 10, RPNLogLoss=4.)])
    with pytest.raises(UserError, match='log.png: this file is read'):
        plot_curves(str(path), str(path))
    assert read_records(path)


def test_records_are_spread_evenly_over_their_epoch():
    records = [train(1, 10, RPNLogLoss=4.), train(1, 20, RPNLogLoss=3.), train(2, 10, RPNLogLoss=2.)]
    assert training_curves(records) == {'RPNLogLoss': ([0.5, 1.0, 1.5], [4., 3., 2.])}


def test_a_resumed_run_replaces_the_steps_that_it_repeats():
    records = [train(1, 10, RPNLogLoss=4.), train(2, 10, RPNLogLoss=9.), train(2, 10, RPNLogLoss=2.)]
    assert training_curves(records) == {'RPNLogLoss': ([1.0, 2.0], [4., 2.])}


def test_a_validation_stands_at_the_end_of_its_epoch():
    records = [{'type': 'val', 'epoch': 1, 'mAP@0.5': 0.25, 'AP@0.5/ball': 0.5},
               {'type': 'val', 'epoch': 5, 'mAP@0.5': 0.75}]
    assert validation_curves(records) == {'mAP@0.5': ([1, 5], [0.25, 0.75])}


def test_values_that_are_no_finite_numbers_are_left_out():
    records = [train(1, 10, RPNLogLoss=float('nan'), RCNNL1Loss=1.), train(1, 20, RPNLogLoss=None)]
    assert training_curves(records) == {'RCNNL1Loss': ([0.5], [1.])}


def test_a_half_written_line_is_skipped_with_a_warning(tmp_path, caplog):
    path = write(tmp_path / 'log.jsonl', [train(1, 10, RPNLogLoss=1.)], tail='\n[1]\n{"type": "train", "epo')
    assert read_records(path) == [train(1, 10, RPNLogLoss=1.)]
    assert 'skipped 2 lines' in caplog.text


@pytest.mark.parametrize('records', [
    [],
    [train(1, 10, RPNLogLoss=1., RCNNLogLoss=2.)],
    [{'type': 'val', 'epoch': 1, 'mAP@0.5': 0.3}],
    [train(1, 10, RPNLogLoss=1.), {'type': 'val', 'epoch': 1, 'mAP@0.5': 0.3}, {'type': 'train'}],
])
def test_a_picture_is_drawn_of_whatever_is_there(tmp_path, records):
    plot_curves(write(tmp_path / 'log.jsonl', records), tmp_path / 'curves.png')
    panels = 2 if any(record['type'] == 'val' for record in records) else 1  # of 5.5 x 4 inches at 100 points
    picture = cv2.imread(str(tmp_path / 'curves.png'))
    assert picture.shape == (400, 550 * panels, 3)
    assert (np.ptp(picture, axis=2) > 100).any() == bool(records)     # curves have colours


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.jsonl'):
        plot_curves(tmp_path / 'none.jsonl', tmp_path / 'curves.png')


def test_a_name_that_no_picture_has_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r'curves.txt: expected the name of a picture, ending in .*\.png'):
        plot_curves(write(tmp_path / 'log.jsonl', []), tmp_path / 'curves.txt')


def test_a_file_of_other_lines_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='log.txt: expected JSON lines, as training writes'):
        read_records(write(tmp_path / 'log.txt', [], tail='epoch 1: loss 3\n'))


def test_running_means_are_over_a_twentieth_of_the_values():
    assert smoothed([float(i) for i in range(40)])[:4] == [0.0, 0.5, 1.5, 2.5]     # windows of two
    assert smoothed([3.0, 5.0]) == [3.0, 5.0]


def test_the_other_metric_of_voc_is_left_out():
    records = [{'type': 'val', 'epoch': 1, 'mAP@0.5': 0.5, 'mAP@0.7': 0.25, 'mAP_07@0.5': 0.4, 'mAP_area@0.5': 0.5}]
    assert validation_curves(records) == {'mAP@0.5': ([1], [0.5]), 'mAP@0.7': ([1], [0.25])}


def test_a_drop_of_the_rate_is_drawn_where_it_was_recorded():
    figure = Figure()
    draw_rate(figure.subplots(), ([1, 2, 3], [0.1, 0.1, 0.01]))
    line, = figure.axes[1].lines
    assert line.get_drawstyle() == 'steps-post'
    assert line.get_xydata().tolist() == [[0, 0.1], [1, 0.1], [2, 0.1], [3, 0.01]]
