"""Where a run stood: saved, found again, and never mixed up with another run's."""
import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.checkpoints import resume
from rfcn.checkpoints.checkpoint import params_path, save_params, states_path

PROGRESS = resume.Progress(epoch=1, batch=0, num_update=70, batches_done=140, best=0.625, checksum=None)


@pytest.fixture
def prefix(tmp_path):
    """Of the checkpoints of two epochs; the weight is the epoch's number."""
    for epoch in 1, 2:
        save_epoch(str(tmp_path / 'net'), epoch)
    return str(tmp_path / 'net')


def params(value):
    return {'conv_weight': mx.nd.full((2, 3), value)}, {'bn_moving_mean': mx.nd.zeros(2)}


def save_epoch(prefix, epoch):
    progress = PROGRESS._replace(epoch=epoch, checksum=resume.checksum(*params(epoch)))
    resume.save_states(states_path(prefix, epoch), {'conv_weight': mx.nd.full((2, 3), -epoch)}, progress)
    save_params(params_path(prefix, epoch), *params(epoch))


def save_interruption(prefix, epoch, batch):
    progress = PROGRESS._replace(epoch=epoch, batch=batch)
    resume.save_states(resume.interrupted_path(prefix), {}, progress, params(epoch + 0.5))


def weight(standing):
    return float(standing.arg_params['conv_weight'][0, 0].asscalar())


def cut_in_half(path):
    content = open(path, 'rb').read()
    with open(path, 'wb') as file:
        file.write(content[:len(content) // 2])


def test_momentum_and_progress_come_back_as_they_were_saved(tmp_path):
    path = str(tmp_path / 'net-0001.states')
    for progress in PROGRESS, PROGRESS._replace(best=None, batch=7):
        resume.save_states(path, {'conv_weight': mx.nd.array([1, 2, 3])}, progress)
        momenta, found, rest = resume.load_states(path)
        assert found == progress and rest == {}
        assert np.array_equal(momenta['conv_weight'].asnumpy(), [1, 2, 3])


def test_the_newest_epoch_is_taken_up(prefix):
    standing = resume.newest(prefix)
    assert weight(standing) == 2 and standing.progress.epoch == 2
    assert float(standing.momenta['conv_weight'][0, 0].asscalar()) == -2


def test_an_interruption_within_a_later_epoch_is_newer(prefix):
    save_interruption(prefix, 2, 5)
    standing = resume.newest(prefix)
    assert weight(standing) == 2.5 and standing.progress.batch == 5


def test_an_interruption_before_the_last_epoch_is_older(prefix):
    save_interruption(prefix, 1, 5)
    assert weight(resume.newest(prefix)) == 2


def test_nothing_to_take_up_is_none(tmp_path):
    assert resume.newest(str(tmp_path / 'none')) is None


@pytest.mark.parametrize('damage', [params_path, states_path])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(prefix, damage, caplog):
    cut_in_half(damage(prefix, 2))
    assert weight(resume.newest(prefix)) == 1
    assert 'net-0002' in caplog.text


def test_a_damaged_interruption_is_passed_over(prefix):
    save_interruption(prefix, 2, 5)
    cut_in_half(resume.interrupted_path(prefix))
    assert weight(resume.newest(prefix)) == 2


def test_parameters_of_another_run_are_not_mixed_with_these_states(prefix):
    save_params(params_path(prefix, 2), *params(99))
    with pytest.raises(CheckpointError, match='different runs'):
        resume.at_epoch(prefix, 2)
    assert weight(resume.newest(prefix)) == 1


def test_parameters_without_states_resume_without_momentum(prefix, caplog):
    save_params(params_path(prefix, 7), *params(7))  # as the release's, whose states are pickles
    standing = resume.at_epoch(prefix, 7)
    assert weight(standing) == 7 and standing.momenta is None and standing.progress is None
    assert 'without momentum' in caplog.text


def test_a_parameter_file_is_no_training_state(prefix):
    with pytest.raises(CheckpointError, match='net-0001.params: no training state of this project'):
        resume.load_states(params_path(prefix, 1))


def test_only_epochs_with_both_files_can_be_resumed_from(tmp_path):
    for name in ('a-0001.params', 'a-0001.states', 'a-0003.params', 'a-0012.params', 'a-0012.states', 'a-best.params',
                 'b-0009.params', 'b-0009.states', 'a-0002.states', 'a-00011.params'):
        (tmp_path / name).write_bytes(b'')
    assert resume.epochs_with_states(str(tmp_path / 'a')) == [1, 12]
    assert resume.epochs_with_states(str(tmp_path / 'none')) == []
    assert resume.epochs_with_states(str(tmp_path / 'no_folder' / 'a')) == []


def test_pruning_keeps_the_newest(prefix):
    save_epoch(prefix, 3)
    resume.prune(prefix, 2)
    assert resume.epochs_with_states(prefix) == [2, 3]
