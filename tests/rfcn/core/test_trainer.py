"""The training loop: reproducible, resumable, with a log that machines can read."""
import logging
import shutil
import signal
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from lib.dataset.imdb import Evaluation
from rfcn import evaluate
from rfcn.checkpoints import checkpoint, resume, states
from rfcn.core.interrupt import Stopped, StopWish
from rfcn.core.trainer import NonFiniteLoss, Trainer, validated_epochs
from rfcn.train_end2end import train_net
from tests.rfcn.conftest import checkpoint_arrays, log_lines

SCHEDULE = ['TRAIN.lr_step=[1.4]', 'TRAIN.warmup=true', 'TRAIN.warmup_lr=0.001', 'TRAIN.warmup_step=2',
            'default.frequent=1']


@pytest.fixture
def train(tiny_cfg, tmp_path):
    """A function (name of a folder, KEY=VALUE, ...) that trains into that folder -> prefix of its checkpoints."""
    def run(folder, *overrides):
        (tmp_path / folder).mkdir(exist_ok=True)
        return train_net(tiny_cfg(*overrides), tmp_path / folder)
    return run


def assert_same_checkpoint(one, other, epoch):
    (arrays, progress), (others, progress_of_other) = (checkpoint_arrays(prefix, epoch) for prefix in (one, other))
    assert progress == progress_of_other and set(arrays) == set(others)
    assert [name for name in arrays if not np.array_equal(arrays[name], others[name])] == []


def test_a_log_line_is_a_json_object_with_the_six_metrics(train):
    prefix = train('a', 'default.frequent=2')
    lines = log_lines(prefix)
    assert [(line['epoch'], line['step']) for line in lines] == [(1, 2), (1, 3)]  # every second step and the last
    assert set(lines[0]) == {'type', 'epoch', 'step', 'lr', 'RPNAcc', 'RPNLogLoss', 'RPNL1Loss', 'RCNNAcc',
                             'RCNNLogLoss', 'RCNNL1Loss'}


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


@pytest.mark.parametrize('overrides', [[], ['TRAIN.CXX_PROPOSAL=true', 'TRAIN.ENABLE_OHEM=false', 'TRAIN.BATCH_ROIS=16',
                                            'SCALES=[[64, 96], [48, 96]]', 'TRAIN.FLIP=true']], ids=['ohem', 'sampled'])
def test_a_resumed_run_equals_one_that_never_stopped_to_the_last_bit(train, overrides):
    whole = train('whole', 'TRAIN.end_epoch=2', *(SCHEDULE + overrides))
    parts = train('parts', 'TRAIN.end_epoch=1', *(SCHEDULE + overrides))
    np.random.seed(99)
    mx.random.seed(99)
    resume_at = ['TRAIN.RESUME=true', 'TRAIN.begin_epoch=1']
    assert train('parts', 'TRAIN.end_epoch=2', *(SCHEDULE + overrides + resume_at)) == parts
    assert_same_checkpoint(whole, parts, 2)
    assert log_lines(whole) == log_lines(parts)


def test_two_devices_with_batches_of_their_own_shapes_resume_to_the_last_bit(tiny_cfg, tmp_path):
    # BatchNorm learns statistics here, on each device of other images; landscapes and portraits share a step.
    devices, settings = [mx.cpu(0), mx.cpu(1)], ['TRAIN.BATCH_IMAGES=1', 'TRAIN.ASPECT_GROUPING=false', *SCHEDULE]
    for folder, ends in ('whole', [2]), ('parts', [1, 2]):
        (tmp_path / folder).mkdir()
        for end in ends:
            cfg = tiny_cfg('TRAIN.RESUME=auto', 'TRAIN.end_epoch=%d' % end, *settings)
            train_net(cfg, tmp_path / folder, devices)
    whole, parts = (str(tmp_path / folder / 'tiny') for folder in ('whole', 'parts'))
    assert [line['step'] for line in log_lines(whole)] == [1, 2, 3, 4, 5, 6]     # two of the six images a step
    assert log_lines(whole) == log_lines(parts)
    assert_same_checkpoint(whole, parts, 2)


def test_auto_resumes_from_the_newest_complete_checkpoint_or_starts_anew(train):
    whole = train('whole', 'TRAIN.end_epoch=3', 'TRAIN.RESUME=auto')
    for suffix in '0002.params', '0002.states', '0003.params':  # the states of epoch 3 were never written
        (Path(whole).parent.parent / 'parts').mkdir(exist_ok=True)
        shutil.copy('%s-%s' % (whole, suffix), str(Path(whole).parent.parent / 'parts'))
    parts = train('parts', 'TRAIN.end_epoch=3', 'TRAIN.RESUME=auto')
    assert [line['epoch'] for line in log_lines(parts)] == [3]
    assert_same_checkpoint(whole, parts, 3)


def test_a_resumed_run_ends_at_once_where_nothing_is_left_to_do(train):
    prefix = train('a')
    before = checkpoint_arrays(prefix, 1)[1]
    train('a', 'TRAIN.RESUME=auto')
    assert checkpoint_arrays(prefix, 1)[1] == before and len(log_lines(prefix)) == 1


def test_resuming_without_a_checkpoint_names_the_file(train):
    with pytest.raises(FileNotFoundError, match='tiny-0004.params: no such parameter file'):
        train('a', 'TRAIN.RESUME=true', 'TRAIN.begin_epoch=4', 'TRAIN.end_epoch=5')


@pytest.mark.parametrize('native', ['true', 'false'])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(train, native):
    with pytest.raises(NonFiniteLoss) as raised:
        train('a', 'TRAIN.lr=1.0e+25', 'TRAIN.CXX_PROPOSAL=' + native)
    message = str(raised.value)
    assert 'a loss is not finite after 2 updates: RPNAcc' in message and 'TRAIN.lr' in message
    assert message.count('.jpg') == 2 and '/JPEGImages/' in message


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


def test_validation_writes_its_metrics_and_keeps_the_best_checkpoint(train):
    prefix = train('a', 'TRAIN.end_epoch=3', 'TRAIN.EVAL_PERIOD=2', 'dataset.val_image_set=val')
    lines = log_lines(prefix, 'val')
    assert [line['epoch'] for line in lines] == [2, 3]  # at its period and at the end
    assert {'mAP@0.5', 'AP@0.5/red', 'AP@0.5/blue'} <= set(lines[0])
    arg_params, _ = checkpoint.load_params(prefix + '-best.params', for_inference=True)
    assert 'rfcn_bbox_weight' in arg_params
    assert states.load_states(checkpoint.states_path(prefix, 3))[1].best == max(line['mAP@0.5'] for line in lines)


class FakeLoader:
    """Of no images."""
    roidb, step_size = [], 1


class FakeModule:
    """Parameters that say which epoch they are of."""
    num_update = learning_rate = 0
    accumulate = 1
    label_names = []

    def get_params(self):
        """One array."""
        return {'weight': mx.nd.ones(1)}, {}

    def momenta(self):
        """None."""
        return {}


def evaluation_of(score):
    return Evaluation(score, {'mAP@0.5': score}, 'table')


def validated(tmp_path, scores, period=100):
    """Numbers of the epochs at which a Trainer kept the best checkpoint, for the scores of each validation."""
    kept = []
    trainer = Trainer(FakeModule(), FakeLoader(), str(tmp_path / 'x'), eval_period=1, period=period,
                      validate=lambda number, *params: (evaluation_of(scores[number - 1]), []),
                      extra_params=lambda arg_params: kept.append(epoch) or {})
    with open(str(tmp_path / 'x-log.jsonl'), 'wb') as trainer._log:
        for epoch in range(1, len(scores) + 1):
            trainer._end_epoch(epoch, 1000, StopWish())
    return kept


def test_the_best_checkpoint_is_that_of_the_highest_score(tmp_path):
    assert validated(tmp_path, [0.2, 0.1, 0.5, 0.5, 0.6]) == [1, 3, 5]


def test_the_checkpoint_of_an_epoch_knows_the_score_of_its_own_validation(tmp_path):
    validated(tmp_path, [0.2, 0.6, 0.5], period=1)
    assert [states.load_states(checkpoint.states_path(str(tmp_path / 'x'), epoch))[1].best
            for epoch in (1, 2, 3)] == [0.2, 0.6, 0.6]


def test_a_validation_set_without_objects_has_no_best_and_a_log_that_is_json(tmp_path):
    assert validated(tmp_path, [float('nan'), 0.2, float('nan'), 0.3]) == [2, 4]
    assert [line['mAP@0.5'] for line in log_lines(str(tmp_path / 'x'), 'val')] == [None, 0.2, None, 0.3]


def test_accumulated_batches_count_as_one_update(train):
    prefix = train('a', 'TRAIN.GRAD_ACCUM=3', 'TRAIN.BATCH_IMAGES=1', 'default.frequent=1')
    assert [line['step'] for line in log_lines(prefix)] == [0, 0, 1, 1, 1, 2]
    assert checkpoint_arrays(prefix, 1)[1].num_update == 2


def test_an_epoch_that_ends_amid_an_accumulation_resumes_to_the_last_bit(train):
    overrides = ['TRAIN.GRAD_ACCUM=2', 'default.frequent=1']  # three batches an epoch
    whole = train('whole', 'TRAIN.end_epoch=2', *overrides)
    parts = train('parts', 'TRAIN.end_epoch=1', *overrides)
    train('parts', 'TRAIN.end_epoch=2', 'TRAIN.RESUME=auto', *overrides)
    assert_same_checkpoint(whole, parts, 2)


def test_frozen_prefixes_are_not_trained(train, tiny_cfg):
    prefix = train('a', 'TRAIN.FREEZE=[conv1, res2]', 'TRAIN.end_epoch=2', 'TRAIN.wd=0.1')
    first, last = (checkpoint.load_params(checkpoint.params_path(prefix, epoch))[0] for epoch in (1, 2))
    same = {name for name in first if np.array_equal(first[name].asnumpy(), last[name].asnumpy())}
    assert {'conv1_weight', 'res2a_branch2a_weight'} <= same and 'res3a_branch2a_weight' not in same


def test_a_pretrained_trunk_is_taken_and_heads_of_other_classes_start_anew(train, tiny_cfg, caplog):
    prefix = train('a')
    cfg_overrides = ['network.pretrained=' + prefix, 'network.pretrained_epoch=1', 'TRAIN.lr=0.0',
                     'network.POOLED_SIZE=1']
    with caplog.at_level('INFO'):
        tuned = train('b', *cfg_overrides)
    for text in '4 parameters have another shape and start from random values', 'rfcn_cls_weight ((27, 16, 1, 1) there':
        assert text in caplog.text
    old, new = (checkpoint.load_params(checkpoint.params_path(p, 1))[0] for p in (prefix, tuned))
    assert np.array_equal(old['res3a_branch2a_weight'].asnumpy(), new['res3a_branch2a_weight'].asnumpy())


@pytest.mark.parametrize('at', [2, 3, 5], ids=['within an epoch', 'at its end', 'within the next'])
def test_a_run_asked_to_stop_ends_after_its_batch_and_goes_on_to_the_last_bit(train, stop_at, at):
    whole = train('whole', 'TRAIN.end_epoch=2', *SCHEDULE)
    steps = stop_at(at)
    with pytest.raises(Stopped) as raised:
        train('parts', 'TRAIN.end_epoch=2', *SCHEDULE)
    assert raised.value.code == 128 + 15 and len(steps) == at  # the shell's status of SIGTERM
    parts = train('parts', 'TRAIN.end_epoch=2', 'TRAIN.RESUME=auto', *SCHEDULE)
    assert len(steps) == 6
    assert_same_checkpoint(whole, parts, 2)
    assert log_lines(whole) == log_lines(parts)
    assert not Path(resume.interrupted_path(parts)).exists()


@pytest.mark.parametrize('period', [1, 2])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stop_amid_a_validation_leaves_it_unfinished_until_the_run_is_resumed(train, monkeypatch, number, period):
    settings = SCHEDULE + ['TRAIN.end_epoch=2', 'TRAIN.EVAL_PERIOD=1', 'dataset.val_image_set=val',
                           'TRAIN.CHECKPOINT_PERIOD=%d' % period]
    whole = train('whole', *settings)
    detect = evaluate.detect_all

    def interrupted(*args, **keywords):
        monkeypatch.setattr(evaluate, 'detect_all', detect)
        signal.raise_signal(number)
        raise AssertionError('it goes on')
    monkeypatch.setattr(evaluate, 'detect_all', interrupted)
    with pytest.raises(Stopped) as raised:
        train('parts', *settings)
    assert raised.value.code == 128 + number
    parts = train('parts', 'TRAIN.RESUME=auto', *settings)
    assert_same_checkpoint(whole, parts, 2)
    assert log_lines(whole) == log_lines(parts)   # no step was done twice
    assert log_lines(whole, 'val') == log_lines(parts, 'val')
    assert [line['epoch'] for line in log_lines(parts, 'val')] == [1, 2]
    assert resume.at_epoch(whole, 2).progress == resume.at_epoch(parts, 2).progress
    assert Path(whole + '-best.params').read_bytes() == Path(parts + '-best.params').read_bytes()


def test_a_stop_at_the_end_of_an_epoch_that_has_no_checkpoint_writes_one(train, stop_at):
    steps = stop_at(3)      # the last one of the epoch
    settings = SCHEDULE + ['TRAIN.end_epoch=4', 'TRAIN.CHECKPOINT_PERIOD=4']
    with pytest.raises(Stopped):
        train('a', *settings)
    train('a', 'TRAIN.RESUME=auto', *settings)
    assert len(steps) == 4 * 3


def test_a_log_that_a_full_disk_does_not_take_is_named(tmp_path):
    trainer = Trainer(FakeModule(), None, str(tmp_path / 'x'))
    with open('/dev/full', 'wb', buffering=0) as trainer._log:
        with pytest.raises(OSError, match='/dev/full cannot be written .No space left on device.; the checkpoints are'):
            trainer._write({'type': 'val'})


def test_the_epochs_that_were_validated_are_read_from_a_log_whatever_else_is_in_it(tmp_path):
    (tmp_path / 'log').write_text('{"type": "val", "epoch": 2}\n{"type": "train", "epoch": 3}\n[]\n3\n{"type": "val"}\n'
                                  '{"type": "val", "epoch": 4}\n{"type": "val", "ep')
    assert validated_epochs(str(tmp_path / 'log')) == {2, 4}


def test_only_the_newest_checkpoints_are_kept_if_asked_for(train):
    prefix = train('a', 'TRAIN.end_epoch=4', 'TRAIN.KEEP_CHECKPOINTS=2')
    kept = sorted(path.name for path in Path(prefix).parent.glob('*.params'))
    assert kept == ['tiny-0003.params', 'tiny-0004.params']


def test_a_training_may_end_within_an_epoch(train):
    # 6 images in batches of 2: the whole first epoch, and two of the three batches of the second
    whole, part = train('a', 'TRAIN.end_epoch=2', *SCHEDULE), train('b', 'TRAIN.end_epoch=1.67', *SCHEDULE)
    assert log_lines(part) == log_lines(whole)[:5]
    assert checkpoint_arrays(part, 2)[1].num_update == 5


def test_a_run_stopped_beyond_its_new_end_says_that_nothing_is_left(train, stop_at, caplog):
    caplog.set_level(logging.INFO)
    stop_at(1)
    with pytest.raises(Stopped):
        train('a', *SCHEDULE)
    caplog.clear()
    prefix = train('a', 'TRAIN.end_epoch=0.34', 'TRAIN.RESUME=auto', *SCHEDULE)     # the first of three batches
    assert resume.epochs_with_states(prefix) == [1] and len(log_lines(prefix)) == 1
    assert 'epoch 1: nothing is left of it to train' in caplog.messages


def test_a_training_that_ended_within_an_epoch_is_finished_when_it_is_resumed(train):
    prefix = train('a', 'TRAIN.end_epoch=1.67', *SCHEDULE)
    train('a', 'TRAIN.end_epoch=1.67', 'TRAIN.RESUME=auto', *SCHEDULE)
    assert len(log_lines(prefix)) == 5
