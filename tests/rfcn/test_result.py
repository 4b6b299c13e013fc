"""The note beside the results of a test."""
import json
import logging

from lib.dataset.imdb import Evaluation
from rfcn import collect_env
from rfcn.collect_env import machine
from rfcn.result import RESULT_FILE, write_result


def test_the_note_holds_the_metrics_and_where_they_come_from(tiny_cfg, tmp_path):
    evaluation = Evaluation(0.5, {'mAP@0.5': 0.5, 'AP@0.5/cat': float('nan')}, 'table')
    write_result(tiny_cfg('seed=3'), tmp_path, tmp_path / 'x.params', evaluation)
    note = json.loads((tmp_path / RESULT_FILE).read_text())
    assert note['metrics'] == {'mAP@0.5': 0.5, 'AP@0.5/cat': None}  # JSON has no NaN
    assert (note['image_set'], note['seed'], note['params']) == ('test', 3, str(tmp_path / 'x.params'))
    assert set(note) == {'metrics', 'image_set', 'params', 'seed', 'date', 'commit', 'machine'}


def test_results_that_only_a_server_can_evaluate_are_to_be_archived(tiny_cfg, tmp_path, caplog):
    folder = tmp_path / 'my test'
    folder.mkdir()
    with caplog.at_level(logging.INFO):
        write_result(tiny_cfg(), folder, 'x.params', Evaluation(float('nan'), {}, 'nothing was evaluated'))
        write_result(tiny_cfg(), folder, 'x.params', Evaluation(0.5, {'mAP@0.5': 0.5}, 'table'))
    message, = [record.getMessage() for record in caplog.records]
    assert "submission.py --results '%s' --out ARCHIVE" % folder in message


def test_the_machine_is_its_gpus_or_its_processor(monkeypatch):
    monkeypatch.setattr(collect_env, 'run', lambda *command: 'Tesla V100')
    assert machine('0,1') == '2 x Tesla V100'
    monkeypatch.setattr(collect_env, 'run', lambda *command: None)
    assert machine('0') == '1 x GPU'
    for count, told in (2, ', 2 processors'), (1, ', 1 processor'):     # hyper-threads are no cores
        monkeypatch.setattr(collect_env, 'usable_processors', lambda count=count: count)
        assert machine('').endswith(told)
