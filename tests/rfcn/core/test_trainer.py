"""The training loop: reproducible, with a log that machines can read."""
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

from rfcn.checkpoints import checkpoint, resume
from rfcn.core.loader import Loader
from rfcn.core.trainer import NonFiniteLoss
from tests.rfcn.conftest import checkpoint_arrays, log_lines
from tests.rfcn.core.conftest import SCHEDULE, assert_same_checkpoint


def test_a_log_line_is_a_json_object_with_the_six_metrics(train):
    prefix = train('a', 'default.frequent=2')
    lines = log_lines(prefix)
    assert [(line['epoch'], line['step']) for line in lines] == [(1, 2), (1, 3)]  # every second step and the last
    assert set(lines[0]) == {'type', 'epoch', 'step', 'lr', 'RPNAcc', 'RPNLogLoss', 'RPNL1Loss', 'RCNNAcc',
                             'RCNNLogLoss', 'RCNNL1Loss'}


def test_the_images_per_second_do_not_depend_on_a_clock_that_is_set_back(train, monkeypatch):
    hours = itertools.count()
    monkeypatch.setattr(time, 'time', lambda: 1e9 - 3600 * next(hours))
    with open(train('a') + '-log.jsonl') as lines:
        assert all(json.loads(line)['images_per_s'] > 0 for line in lines)


def test_a_log_line_holds_means_over_the_steps_since_the_line_before(train):
    sampled = ['TRAIN.ENABLE_OHEM=false', 'TRAIN.BATCH_ROIS=16']    # as many RoIs in each step
    each, pairs = (log_lines(train(folder, 'TRAIN.end_epoch=2', 'default.frequent=%d' % steps, *sampled))
                   for folder, steps in (('each', 1), ('pairs', 2)))
    losses = [line['RCNNLogLoss'] for line in each]     # three steps an epoch
    assert [line['RCNNLogLoss'] for line in pairs] == pytest.approx(
        [np.mean(losses[:2]), losses[2], np.mean(losses[3:5]), losses[5]])


def test_one_seed_gives_the_same_losses_and_parameters_and_another_does_not(train):
    one, same, other = train('a', *SCHEDULE), train('b', *SCHEDULE), train('c', 'seed=1', *SCHEDULE)
    assert log_lines(one) == log_lines(same) != log_lines(other)
    assert_same_checkpoint(one, same, 1)


def test_the_schedule_is_that_of_updates(train):
    prefix = train('a', 'TRAIN.end_epoch=2', *SCHEDULE)
    # 3 updates an epoch; warm-up for update 1; 1.4 epochs are 4 updates
    assert [line['lr'] for line in log_lines(prefix)] == pytest.approx([0.001, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_a_drop_at_the_end_of_an_epoch_comes_there_though_batches_and_updates_do_not_come_out_even(train):
    # 6 images in batches of 4 are 2 batches, with GRAD_ACCUM 2 one update an epoch; 6 / (4 * 2) would be 0.75.
    even = ['TRAIN.lr_step=[2]', 'TRAIN.BATCH_IMAGES=4', 'TRAIN.GRAD_ACCUM=2', 'TRAIN.end_epoch=3',
            'default.frequent=1']
    rates = [(line['epoch'], line['lr']) for line in log_lines(train('a', *even))]
    assert rates[1::2] == [(1, pytest.approx(0.01)), (2, pytest.approx(0.01)), (3, pytest.approx(0.001))]


@pytest.mark.parametrize('native', ['true', 'false'])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(train, native):
    with pytest.raises(NonFiniteLoss) as raised:
        train('a', 'TRAIN.lr=1.0e+25', 'TRAIN.CXX_PROPOSAL=' + native)
    message = str(raised.value)
    assert 'a loss is not finite after 2 updates: RPNAcc' in message and 'TRAIN.lr' in message
    assert message.count('.jpg') == 2 and '/JPEGImages/' in message


def test_the_name_of_an_image_need_not_be_utf_8_to_be_named(train, monkeypatch):
    batches, name = Loader.batches, 'caf\udce9.jpg'     # as Python reads b'caf\xe9.jpg'

    def renamed(loader, *args):
        for batch in batches(loader, *args):
            batch.images[0] = name
            yield batch
    monkeypatch.setattr(Loader, 'batches', renamed)
    with pytest.raises(NonFiniteLoss) as raised:
        train('a', 'TRAIN.lr=1.0e+25')
    assert 'Images: ' + name in str(raised.value)


def test_checkpoints_are_written_at_their_period_and_at_the_end(train):
    prefix = train('a', 'TRAIN.end_epoch=5', 'TRAIN.CHECKPOINT_PERIOD=2')
    assert resume.epochs_with_states(prefix) == [2, 4, 5]


def test_a_checkpoint_has_the_box_layer_for_testing(train):
    prefix = train('a')
    path = checkpoint.params_path(prefix, 1)
    plain, for_inference = checkpoint.load_params(path)[0], checkpoint.load_params(path, for_inference=True)[0]
    # 2 sets of dx, dy, dw, dh, 9 bins each; BBOX_STDS is 0.1, 0.1, 0.2, 0.2
    stds = np.repeat([0.1, 0.1, 0.2, 0.2] * 2, 9).reshape(-1, 1, 1, 1)
    weight = plain['rfcn_bbox_weight'].asnumpy()
    np.testing.assert_allclose(for_inference['rfcn_bbox_weight'].asnumpy(), weight * stds, rtol=1e-5)
    assert np.array_equal(for_inference['rfcn_cls_weight'].asnumpy(), plain['rfcn_cls_weight'].asnumpy())


def test_accumulated_batches_count_as_one_update(train):
    prefix = train('a', 'TRAIN.GRAD_ACCUM=3', 'TRAIN.BATCH_IMAGES=1', 'default.frequent=1')
    assert [line['step'] for line in log_lines(prefix)] == [0, 0, 1, 1, 1, 2]
    assert checkpoint_arrays(prefix, 1)[1].num_update == 2


def test_frozen_prefixes_are_not_trained(train):
    prefix = train('a', 'TRAIN.FREEZE=[conv1, res2]', 'TRAIN.end_epoch=2', 'TRAIN.wd=0.1')
    first, last = (checkpoint.load_params(checkpoint.params_path(prefix, epoch))[0] for epoch in (1, 2))
    same = {name for name in first if np.array_equal(first[name].asnumpy(), last[name].asnumpy())}
    assert {'conv1_weight', 'res2a_branch2a_weight'} <= same and 'res3a_branch2a_weight' not in same


def test_a_pretrained_trunk_is_taken_and_heads_of_other_classes_start_anew(train, caplog):
    prefix = train('a')
    cfg_overrides = ['network.pretrained=' + prefix, 'network.pretrained_epoch=1', 'TRAIN.lr=0.0',
                     'network.POOLED_SIZE=1']
    with caplog.at_level('INFO'):
        tuned = train('b', *cfg_overrides)
    for text in '4 parameters have another shape and start from random values', 'rfcn_cls_weight ((27, 16, 1, 1) there':
        assert text in caplog.text
    old, new = (checkpoint.load_params(checkpoint.params_path(p, 1))[0] for p in (prefix, tuned))
    assert np.array_equal(old['res3a_branch2a_weight'].asnumpy(), new['res3a_branch2a_weight'].asnumpy())


def test_only_the_newest_checkpoints_are_kept_if_asked_for(train):
    prefix = train('a', 'TRAIN.end_epoch=4', 'TRAIN.KEEP_CHECKPOINTS=2')
    kept = sorted(path.name for path in Path(prefix).parent.glob('*.params'))
    assert kept == ['tiny-0003.params', 'tiny-0004.params']


def test_a_training_may_end_within_an_epoch(train):
    # 6 images in batches of 2: the whole first epoch, and two of the three batches of the second
    whole, part = train('a', 'TRAIN.end_epoch=2', *SCHEDULE), train('b', 'TRAIN.end_epoch=1.67', *SCHEDULE)
    assert log_lines(part) == log_lines(whole)[:5]
    assert checkpoint_arrays(part, 2)[1].num_update == 5
