"""A training that was stopped goes on as if it had not been, to the last bit."""
import json
import logging
import shutil
import signal
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from rfcn import evaluate, train_end2end
from rfcn.checkpoints import resume
from rfcn.core.interrupt import Stopped
from rfcn.train_end2end import train_net
from tests.rfcn.conftest import checkpoint_arrays, log_lines
from tests.rfcn.core.conftest import SCHEDULE, assert_same_checkpoint


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


def test_an_epoch_that_a_run_ended_within_is_gone_on_with_where_more_epochs_are_asked_for(train):
    whole = train('whole', 'TRAIN.end_epoch=2', 'default.frequent=1', *SCHEDULE)
    parts = train('parts', 'TRAIN.end_epoch=1.34', 'default.frequent=1', *SCHEDULE)
    assert train('parts', 'TRAIN.end_epoch=2', 'default.frequent=1', 'TRAIN.RESUME=auto', *SCHEDULE) == parts
    assert [line['step'] for line in log_lines(parts)] == [1, 2, 3, 4, 5, 6]
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


def test_an_epoch_that_ends_amid_an_accumulation_resumes_to_the_last_bit(train):
    overrides = ['TRAIN.GRAD_ACCUM=2', 'default.frequent=1']  # three batches an epoch
    whole = train('whole', 'TRAIN.end_epoch=2', *overrides)
    parts = train('parts', 'TRAIN.end_epoch=1', *overrides)
    train('parts', 'TRAIN.end_epoch=2', 'TRAIN.RESUME=auto', *overrides)
    assert_same_checkpoint(whole, parts, 2)


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


def test_the_log_counts_what_was_done_when_a_run_was_stopped(train, stop_at, caplog):
    caplog.set_level('INFO')
    stop_at(3)
    with pytest.raises(Stopped):
        train('a', 'TRAIN.end_epoch=2', *SCHEDULE)
    train('a', 'TRAIN.end_epoch=2', 'TRAIN.RESUME=auto', *SCHEDULE)
    assert 'stopped by SIGTERM after 1 epoch and 0 images' in caplog.text
    assert 'a/tiny-0001.params: 1 epoch and 0 images done' in caplog.text


def test_a_stop_at_the_end_of_an_epoch_that_has_no_checkpoint_writes_one(train, stop_at):
    steps = stop_at(3)      # the last one of the epoch
    settings = SCHEDULE + ['TRAIN.end_epoch=4', 'TRAIN.CHECKPOINT_PERIOD=4']
    with pytest.raises(Stopped):
        train('a', *settings)
    train('a', 'TRAIN.RESUME=auto', *settings)
    assert len(steps) == 4 * 3


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


def test_a_log_that_was_cut_within_a_line_gets_whole_lines_after_it(tiny_run, tiny_yaml, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / 'output' / 'tiny' / 'train')
    log = folder / 'tiny-log.jsonl'
    log.write_bytes(log.read_bytes()[:100])
    train_end2end.main(['--cfg', tiny_yaml(), 'TRAIN.RESUME=auto', 'TRAIN.end_epoch=2'])
    first, *lines = log.read_text().splitlines()
    assert len(first) == 100 and [json.loads(line)['epoch'] for line in lines] == [2]
