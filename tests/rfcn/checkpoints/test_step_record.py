"""Notes of what a step of training was made with."""
import pytest

from rfcn.checkpoints.resume import difference, record, training_settings
from rfcn.config.config import load_config


@pytest.fixture
def note(tmp_path):
    path = tmp_path / 'rpn1.yaml'
    path.write_text(record({'lr': 0.01, 'epochs': 3}, []))
    return path


def test_the_same_settings_do_not_differ(note):
    assert difference(note, record({'lr': 0.01, 'epochs': 3}, [])) == []


def test_a_note_that_is_not_there_differs_from_nothing(tmp_path):
    assert difference(tmp_path / 'rpn1.yaml', record({'lr': 0.01}, [])) == []


def test_what_is_new_is_told(note):
    assert difference(note, record({'lr': 0.02, 'epochs': 3}, [])) == ['lr: 0.02']


def test_settings_that_are_gone_are_told(note):
    assert difference(note, record({'lr': 0.01}, [])) == ['fewer settings']


def test_a_note_changes_with_those_of_what_the_step_starts_from(note):
    before = record({'lr': 0.1}, [note])
    note.write_text(note.read_text() + '# another run\n')
    assert record({'lr': 0.1}, [note]) != before


def test_what_does_not_change_the_result_is_left_out():
    def settings(*overrides):
        return training_settings(load_config(None, overrides))
    assert settings('TRAIN.WORKERS=1', 'dataset.dataset_path=elsewhere', 'gpus=0',
                    'TRAIN.KEEP_CHECKPOINTS=2') == settings()
    assert settings('TRAIN.wd=0.1') != settings()
