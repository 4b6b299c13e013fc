"""Notes of what a step of training was made with."""
import os

import pytest

from lib.utils.limits import NoInput
from rfcn.checkpoints.resume import changed_lines, is_up_to_date, note_text, save_note, training_settings
from rfcn.config.config import load_config


@pytest.fixture
def note(tmp_path):
    path = tmp_path / 'rpn1.yaml'
    path.write_text(note_text({'lr': 0.01, 'epochs': 3}, []))
    return path


def test_the_same_settings_do_not_differ(note):
    assert changed_lines(note, note_text({'lr': 0.01, 'epochs': 3}, [])) == []


def test_a_note_that_is_not_there_differs_from_nothing(tmp_path):
    assert changed_lines(tmp_path / 'rpn1.yaml', note_text({'lr': 0.01}, [])) == []


def test_what_is_new_is_told(note):
    assert changed_lines(note, note_text({'lr': 0.02, 'epochs': 3}, [])) == ['lr: 0.02']


def test_settings_that_are_gone_are_told(note):
    assert changed_lines(note, note_text({'lr': 0.01}, [])) == ['fewer settings']


def test_a_note_changes_with_those_of_what_the_step_starts_from(note):
    before = note_text({'lr': 0.1}, [note])
    note.write_text(note.read_text() + '# another run\n')
    assert note_text({'lr': 0.1}, [note]) != before


def test_a_note_that_is_no_text_is_of_something_else(note):
    note.write_bytes(b'\xff\xfe\x00lr')
    assert changed_lines(note, note_text({'lr': 0.01}, [])) == ['lr: 0.01', 'made_from: {}']
    assert not is_up_to_date(note, note_text({'lr': 0.01}, []))


def test_a_pipe_in_the_place_of_a_note_or_of_its_files_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'rpn1.yaml'))
    for read in changed_lines, is_up_to_date:
        with pytest.raises(NoInput, match='named pipe'):
            read(tmp_path / 'rpn1.yaml', 'lr: 1')
    made, note = tmp_path / 'made.npz', tmp_path / 'rpn1_proposals.yaml'
    made.write_bytes(b'boxes')
    save_note(note, 'lr: 1\n', [made])
    assert is_up_to_date(note, 'lr: 1\n')
    made.unlink()
    os.mkfifo(str(made))
    assert not is_up_to_date(note, 'lr: 1\n')


def test_what_does_not_change_the_result_is_left_out():
    def settings(*overrides):
        return training_settings(load_config(None, overrides))
    assert settings('TRAIN.WORKERS=1', 'dataset.dataset_path=elsewhere', 'gpus=0',
                    'TRAIN.KEEP_CHECKPOINTS=2') == settings()
    assert settings('TRAIN.wd=0.1') != settings()
