"""A training in steps that is called again: what is there is not done again, what does not fit is refused."""
import os
import shutil

import numpy as np
import pytest

from lib.dataset.proposals import load_proposals
from lib.errors import CheckpointError, ConfigError
from lib.utils.limits import NoInput
from rfcn import train_alternate
from rfcn.checkpoints import checkpoint
from rfcn.config.config import with_overrides
from tests.conftest import TINY_SETS
from tests.rfcn.conftest import log_lines
from tests.rfcn.train_alternate.conftest import NAME, STEPS, assert_equal, is_shared, params_of


def times_of_results(folder):
    """When each checkpoint and each file of proposals of the steps was written."""
    results = [path for path in folder.rglob('*') if path.suffix in ('.params', '.npz') and 'final' not in path.name]
    assert len(results) >= 4 + 2 * 2    # of four steps; proposals of two, for training and for validation
    return {path.name: path.stat().st_mtime_ns for path in results}


def test_a_second_call_trains_nothing_again(copied):
    cfg, folder = copied
    before = times_of_results(folder)
    (folder / 'final-0000.params').unlink()
    train_alternate.train_alternate(cfg, folder)
    assert (folder / 'final-0000.params').exists()
    assert times_of_results(folder) == before


def test_an_interrupted_step_goes_on_from_its_newest_checkpoint_as_if_nothing_had_been(copied):
    cfg, folder = copied
    complete, _ = params_of(folder, 'rfcn2')
    for name in ('rfcn2-0020.params', 'rfcn2-0020.states', 'final-0000.params'):
        (folder / name).unlink()
    train_alternate.train_alternate(cfg, folder)
    assert len(log_lines(folder / 'rfcn2')) == 3 * 20 + 3 * 4  # twenty epochs, and the last four once more
    assert_equal(params_of(folder, 'rfcn2')[0], complete, complete)


def test_lost_proposals_are_made_anew(copied):
    cfg, folder = copied
    lost = folder / 'rpn2_proposals' / (NAME + '_rpn.npz')
    before = load_proposals(str(lost), TINY_SETS['train'])
    (folder / 'rpn2_proposals.yaml').unlink()
    lost.unlink()
    train_alternate.train_alternate(cfg, folder)
    for made, expected in zip(load_proposals(str(lost), TINY_SETS['train']), before):
        np.testing.assert_array_equal(made, expected)


def test_checkpoints_of_other_settings_are_refused_with_the_setting(copied):
    cfg, folder = copied
    with pytest.raises(ConfigError, match=r"step rfcn1 was trained with other settings.*lr: 0.05.*Remove .*rfcn1\*"):
        train_alternate.train_alternate(with_overrides(cfg, {'TRAIN.ALTERNATE.rfcn1_lr': 0.05}), folder)


def test_steps_after_one_of_other_settings_are_refused_too(copied):
    cfg, folder = copied
    for path in folder.glob('rfcn1*'):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    changed = with_overrides(cfg, {'TRAIN.ALTERNATE.rfcn1_lr': 0.05, 'TRAIN.ALTERNATE.rfcn1_epoch': 1})
    with pytest.raises(ConfigError, match='step rpn2 was trained with other settings.*now: made_from: {rfcn1'):
        train_alternate.train_alternate(changed, folder)


def test_where_what_changes_cannot_change_the_result_nothing_is_trained_again(copied):
    cfg, folder = copied
    changes = {'TRAIN.WORKERS': 1, 'TRAIN.CHECKPOINT_PERIOD': 7, 'TEST.NMS': 0.5, 'dataset.val_image_set': ''}
    before = times_of_results(folder)
    train_alternate.train_alternate(with_overrides(cfg, changes), folder)
    assert times_of_results(folder) == before


def test_five_steps_train_the_second_rfcn_from_the_start_and_a_third_rpn_on_its_layers(copied):
    # The release has keys for a fifth step and does not read them.
    cfg, folder = copied
    five = with_overrides(cfg, {'TRAIN.ALTERNATE.rpn3_epoch': 1, 'TRAIN.ALTERNATE.rpn3_lr': 0.02,
                                'TRAIN.ALTERNATE.rfcn2_epoch': 1})
    with pytest.raises(ConfigError, match='step rfcn2 was trained with other settings'):
        train_alternate.train_alternate(five, folder)
    for path in list(folder.glob('rfcn2*')) + list(folder.glob('final*')):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    final, aux = checkpoint.load_params(train_alternate.train_alternate(five, folder))
    rfcn, rfcn_aux = params_of(folder, 'rfcn2', 1)
    rpn, _ = params_of(folder, 'rpn3', 1)
    assert np.any(rfcn['conv1_weight'].asnumpy() != params_of(folder, 'rfcn1')[0]['conv1_weight'].asnumpy())
    assert_equal(rpn, rfcn, filter(is_shared, rpn))
    assert_equal(final, rpn, rpn)
    assert_equal(final, rfcn, rfcn)
    assert_equal(aux, rfcn_aux, rfcn_aux)


def test_proposals_that_are_not_those_of_the_note_are_made_anew(copied):
    cfg, folder = copied
    path = folder / 'rpn1_proposals' / (NAME + '_rpn.npz')
    before = path.read_bytes()
    path.write_bytes((folder / 'rpn2_proposals' / (NAME + '_rpn.npz')).read_bytes())
    train_alternate.train_alternate(cfg, folder)
    assert [found.tolist() for found in load_proposals(str(path), TINY_SETS['train'])] == [
        found.tolist() for found in load_proposals_of(before, folder)]


def load_proposals_of(content, folder):
    (folder / 'before.npz').write_bytes(content)
    return load_proposals(str(folder / 'before.npz'), TINY_SETS['train'])


def test_steps_on_other_data_are_refused(copied, own_tiny_voc):
    cfg, folder = copied
    moved = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc), 'dataset.root_path': str(own_tiny_voc)})
    train_alternate.train_alternate(moved, folder)      # the same data in another place
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('wide1\nhigh1\n')
    with pytest.raises(ConfigError, match=r'step rpn1 was trained with other set.*now: data: {images: 2, objects: 4'):
        train_alternate.train_alternate(moved, folder)


def test_a_step_of_two_runs_is_refused(copied):
    cfg, folder = copied
    arg_params, aux_params = params_of(folder, 'rpn1')
    path = checkpoint.params_path(str(folder / 'rpn1'), STEPS['rpn1'])
    checkpoint.save_params(path, dict(arg_params, conv1_weight=arg_params['conv1_weight'] + 1), aux_params)
    with pytest.raises(CheckpointError, match=r'rpn1-\d+.params and .*rpn1-\d+.states are of different runs'):
        train_alternate.train_alternate(cfg, folder)


def test_a_changed_step_is_trained_anew_if_that_is_meant(copied):
    cfg, folder = copied
    changed = with_overrides(cfg, {'TRAIN.ALTERNATE.rfcn2_lr': 0.05, 'TRAIN.ALTERNATE.rfcn2_epoch': 1,
                                   'TRAIN.OVERWRITE': True})
    train_alternate.train_alternate(changed, folder)
    assert sorted(path.name for path in folder.glob('rfcn2-*.params')) == ['rfcn2-0001.params']


@pytest.mark.parametrize('other, said', [('rpn2', "network.pretrained was .*rfcn1.*, now ''"),
                                         ('rfcn1', r'of another kind of training \(rfcn, and this is rpn\)')])
def test_a_step_in_the_place_of_another_is_refused(copied, other, said):
    cfg, folder = copied
    for end in ('params', 'states'):
        shutil.copy(str(folder / ('%s-%04d.%s' % (other, STEPS[other], end))),
                    str(folder / ('rpn1-%04d.%s' % (STEPS['rpn1'], end))))
    with pytest.raises(CheckpointError, match='rpn1-0008.params .*' + said):
        train_alternate.train_alternate(cfg, folder)


def test_a_step_whose_note_was_lost_still_knows_its_settings(copied):
    cfg, folder = copied
    note = folder / 'rfcn2.yaml'
    text = note.read_text()
    note.unlink()
    changed = with_overrides(cfg, {'TRAIN.ALTERNATE.rfcn2_lr': 0.05})
    with pytest.raises(CheckpointError, match='rfcn2-0020.params was trained with something else: TRAIN.lr was 0.02'):
        train_alternate.train_alternate(changed, folder)
    assert not note.exists()
    before = times_of_results(folder)
    train_alternate.train_alternate(cfg, folder)
    assert times_of_results(folder) == before and note.read_text() == text


def test_a_step_of_other_settings_without_a_note_is_trained_anew_if_that_is_meant(copied):
    cfg, folder = copied
    (folder / 'rfcn2.yaml').unlink()
    complete, _ = params_of(folder, 'rfcn2')
    train_alternate.train_alternate(
        with_overrides(cfg, {'TRAIN.ALTERNATE.rfcn2_lr': 0.05, 'TRAIN.OVERWRITE': True}), folder)
    assert np.any(params_of(folder, 'rfcn2')[0]['conv_new_1_weight'].asnumpy()
                  != complete['conv_new_1_weight'].asnumpy())


def test_a_finished_step_without_its_states_is_done_and_nothing_is_said_of_resuming(copied, caplog):
    cfg, folder = copied
    (folder / 'rfcn2-0020.states').unlink()
    before = times_of_results(folder)
    train_alternate.train_alternate(cfg, folder)
    assert times_of_results(folder) == before and 'momentum' not in caplog.text


def test_steps_whose_notes_were_lost_still_know_their_data(copied, own_tiny_voc):
    cfg, folder = copied
    for step in STEPS:
        (folder / (step + '.yaml')).unlink()
    changed = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc), 'dataset.root_path': str(own_tiny_voc)})
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('wide1\nhigh1\n')
    with pytest.raises(CheckpointError, match='rpn1-0008.params was trained on other data .*; now images 2, objects 4'):
        train_alternate.train_alternate(changed, folder)
    assert not (folder / 'rpn1.yaml').exists()


def test_a_pipe_in_the_place_of_proposals_is_not_waited_for(copied):
    cfg, folder = copied
    path = folder / 'rpn1_proposals' / (NAME + '_rpn.npz')
    path.unlink()
    os.mkfifo(str(path))
    with pytest.raises(NoInput, match='a regular file is expected'):
        train_alternate.train_alternate(cfg, folder)
