"""Where a run stood: saved, found again, and never mixed up with another run's."""
import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.checkpoints import resume
from rfcn.checkpoints.checkpoint import params_path, save_params, states_path
from rfcn.checkpoints.states import Progress, checksum, load_states, save_checkpoint, save_states

PROGRESS = Progress(epoch=1, images=0, num_update=70, batches_done=140, best=0.625, checksum=None, epoch_images=280,
                    step_images=2, accumulate=2, order_images=2)


@pytest.fixture
def prefix(tmp_path):
    """Of the checkpoints of two epochs; the weight is the epoch's number."""
    for epoch in 1, 2:
        save_epoch(str(tmp_path / 'net'), epoch)
    return str(tmp_path / 'net')


def params(value):
    return {'conv_weight': mx.nd.full((2, 3), value)}, {'bn_moving_mean': mx.nd.zeros(2)}


def save_epoch(prefix, epoch):
    progress = PROGRESS._replace(epoch=epoch, checksum=checksum(*params(epoch)))
    save_checkpoint(params_path(prefix, epoch), *params(epoch), {'conv_weight': mx.nd.full((2, 3), -epoch)}, progress)


def save_interruption(prefix, epoch, images):
    progress = PROGRESS._replace(epoch=epoch, images=images)
    save_states(resume.interrupted_path(prefix), {}, progress, params=params(epoch + 0.5))


def weight(saved):
    return float(saved.arg_params['conv_weight'][0, 0].asscalar())


def cut_in_half(path):
    content = open(path, 'rb').read()
    with open(path, 'wb') as file:
        file.write(content[:len(content) // 2])


def test_momentum_and_progress_come_back_as_they_were_saved(tmp_path):
    path = str(tmp_path / 'net-0001.states')
    for progress in PROGRESS, PROGRESS._replace(best=None, images=7):
        save_states(path, {'conv_weight': mx.nd.array([1, 2, 3])}, progress)
        momenta, found, identity, rest = load_states(path)
        assert found == progress and rest == {} and identity is None
        assert np.array_equal(momenta['conv_weight'].asnumpy(), [1, 2, 3])


def test_the_newest_epoch_is_taken_up(prefix):
    saved = resume.newest(prefix)
    assert weight(saved) == 2 and saved.progress.epoch == 2
    assert float(saved.momenta['conv_weight'][0, 0].asscalar()) == -2


def test_an_interruption_within_a_later_epoch_is_newer(prefix):
    save_interruption(prefix, 2, 5)
    saved = resume.newest(prefix)
    assert weight(saved) == 2.5 and saved.progress.images == 5


def test_an_interruption_before_the_last_epoch_is_older(prefix):
    save_interruption(prefix, 1, 5)
    assert weight(resume.newest(prefix)) == 2


def test_nothing_to_take_up_is_none(tmp_path):
    assert resume.newest(str(tmp_path / 'none')) is None


@pytest.mark.parametrize('damage', [params_path, states_path])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(prefix, damage, caplog):
    cut_in_half(damage(prefix, 2))
    assert weight(resume.newest(prefix)) == 1
    message, = caplog.messages
    assert message.startswith('passed over: %s' % damage(prefix, 2))


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
    saved = resume.at_epoch(prefix, 7)
    assert weight(saved) == 7 and saved.momenta is None and saved.progress is None
    assert 'without momentum' in caplog.text


def test_a_parameter_file_is_no_training_state(prefix):
    with pytest.raises(CheckpointError, match='net-0001.params: no training state .*network.pretrained'):
        load_states(params_path(prefix, 1))


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


# A run of 280 images an epoch, 2 a batch, 2 batches an update: 140 batches and 70 updates an epoch.
@pytest.mark.parametrize('images, now, expected', [
    pytest.param(0, (280, 2, 2), (0, 210, 420, 2), id='nothing has changed'),
    pytest.param(0, (280, 4, 2), (0, 105, 210, 4), id='larger batches'),        # 70 batches, 35 updates an epoch
    pytest.param(0, (280, 2, 1), (0, 420, 420, 2), id='no accumulation'),       # each of the 140 batches is an update
    pytest.param(0, (300, 2, 2), (0, 225, 450, 2), id='more images'),           # 150 batches, 75 updates an epoch
    # 80 images are seen. 200 are left: 25 batches of 8, 13 updates. An epoch: 35 batches, 18 updates.
    pytest.param(80, (280, 8, 2), (80, 4 * 18 - 13, 4 * 35 - 25, 2), id='within an epoch'),
])
def test_progress_means_the_same_with_batches_of_another_size(images, now, expected):
    progress = PROGRESS._replace(epoch=3, images=images, num_update=210, batches_done=420)
    fitted = resume.fitted(progress, True, *now)
    assert (fitted.images, fitted.num_update, fitted.batches_done, fitted.order_images) == expected
    assert (fitted.epoch, fitted.epoch_images, fitted.step_images, fitted.accumulate) == (3,) + now


def test_an_epoch_that_was_begun_on_other_images_starts_again():
    progress = PROGRESS._replace(epoch=3, images=80, num_update=230, batches_done=460)
    fitted = resume.fitted(progress, False, 280, 2, 2)
    assert (fitted.images, fitted.num_update, fitted.batches_done) == (0, 210, 420)
    assert resume.fitted(progress, True, 280, 2, 2) == progress
