"""The rows of the paper's and the release's tables: that each has its files, and what is read of the runs."""
import json
import os
import subprocess

import pytest

from experiments import reproduce
from experiments.rows import show
from experiments.rows.measured import Measured, from_log, from_result, measured
from experiments.rows.table import ALTERNATE, ROOT, ROWS, TEST, find_row
from lib.errors import UserError
from rfcn.config.config import dump, load_config
from rfcn.symbols import make_symbol
from rfcn.train_alternate import steps_of

VOC_LOG = """2026-11-22 10:00:00,1 rfcn INFO revision abc1234+, Python 3.11.7, MXNet 1.9.1, NumPy 1.23.5
seed: 7
2026-11-22 10:00:01,1 rfcn.test INFO x-0001.params
class          objects   AP@0.5   AP@0.7
car                 10   0.9000   0.5000
mean                10   0.9000   0.5000
mean, 07            10   0.9000   0.5000
2026-11-22 11:30:00,1 rfcn.test INFO x-0002.params
class          objects   AP@0.5   AP@0.7
car                 10   0.9500   0.6000
mean                10   0.9500   0.6000
"""
COCO_LOG = """2026-11-22 11:30:00,1 rfcn INFO revision abc1234, Python 3.11.7
seed: 0
class             AP     AP50
mean          0.2760   0.4890
AP 0.2760
AP50 0.4890
AP_small 0.1000
"""


def test_every_published_result_of_the_paper_and_the_release_has_a_row():
    paper = sorted(row.published.get('mAP@0.5', row.published.get('AP')) for row in ROWS if row.paper)
    # R-FCN's 76.6 and 79.5 stand in several of the paper's tables.
    assert paper == sorted([72.5, 74.0, 76.6, 61.7, 68.9, 67.6, 75.5, 76.4, 79.3, 79.5, 79.3, 80.5, 83.6, 77.6, 82.0,
                            73.8, 27.2, 27.6, 27.8, 29.2, 29.9, 31.5, 77.0, 79.6, 78.7, 80.4, 77.2, 77.8])
    assert sorted(next(iter(row.release.values())) for row in ROWS if row.release) == [32.1, 35.7, 79.6, 82.3]


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_a_row_has_a_yaml_file_whose_network_can_be_built_and_a_script(row):
    cfg = load_config(row.cfg_path)
    network = make_symbol(cfg)
    assert network.get_symbol(is_train=True).list_outputs()
    assert os.access(str(row.script_path), os.R_OK)
    text = row.script_path.read_text()
    assert text.startswith('#!/usr/bin/env bash\n')
    assert 'reproduce.py" --run "$(basename "$0" .sh)"' in text or row.script
    if row.kind == ALTERNATE:
        five = 'coco' in cfg.dataset.dataset and 'faster' not in row.name   # as in the paper; its baseline is older
        assert len(steps_of(cfg)) == (5 if five else 4)
        assert all(cfg.TRAIN.ALTERNATE[step + '_epoch'] for step in steps_of(cfg))
    elif row.kind != TEST:
        assert cfg.TRAIN.end_epoch and cfg.TRAIN.lr and cfg.TRAIN.lr_step


def test_every_script_of_a_row_belongs_to_one():
    scripts = {path.name for path in (ROOT / 'experiments' / 'rfcn').glob('*.sh')}
    assert scripts == {row.script_path.name for row in ROWS if row.script_path.parent.name == 'rfcn'} | {'row.sh'}


def test_a_script_runs_the_row_of_its_name():
    script = find_row('paper_voc07_rfcn').script_path
    printed = subprocess.check_output(['bash', str(script), 'gpus=0'], env=dict(os.environ, PYTHON='echo'))
    # `echo` is asked first whether it has the packages
    assert printed.decode().splitlines()[1].split()[1:] == ['--run', 'paper_voc07_rfcn', 'gpus=0']


def test_an_unknown_row_is_refused_with_those_of_a_similar_name():
    with pytest.raises(UserError, match="no row 'voc12'; there are paper_voc12_rfcn_multiscale, paper_voc12_rfcn_co"):
        find_row('voc12')
    with pytest.raises(UserError, match="there is no row 'nothing'; there are paper.*demo"):
        reproduce.main(['--run', 'nothing'])


@pytest.mark.parametrize('words, told', [
    (['paper_voc07_rfcn'], 'paper_voc07_rfcn: KEY=VALUE is for --run, --explain and --cost'),
    (['--markdown', 'gpus='], 'gpus=: KEY=VALUE is for --run'), (['--params', 'a.params'], '--params is for --run ROW'),
    (['--hosts', '2'], '--hosts and .* for --cost'), (['--markdown', '--seconds-per-step', '2'], ' are for --cost'),
    (['--seconds-per-image', '2'], '--seconds-per-image goes with'),
    (['--explain', 'paper_voc07_rfcn', '--output', 'mine'], '--output says where rows wrote'),
])
def test_words_that_would_do_nothing_are_refused(words, told):
    with pytest.raises(UserError, match=told):
        reproduce.main(words)


def test_the_last_result_in_a_log_is_taken():
    found = from_log(VOC_LOG)
    assert found == Measured({'mAP@0.5': 95.0, 'mAP@0.7': 60.0}, '2026-11-22 11:30', 'abc1234+', '7', '?')
    assert from_log(COCO_LOG).metrics == pytest.approx({'AP': 27.6, 'AP50': 48.9, 'AP_small': 10.0})


def test_a_log_without_a_result_is_none():
    assert from_log('2026-11-22 10:00:00,1 rfcn INFO revision abc1234+\n') is None


def write_result(folder, name, metrics):
    """A result.json where the row of that name writes it, below `folder`."""
    row = find_row(name)
    cfg = load_config(row.cfg_path)
    path = folder / os.path.relpath(cfg.output_path, str(ROOT / 'output')) / name / cfg.dataset.test_image_set
    path.mkdir(parents=True)
    (path / 'result.json').write_text(json.dumps(dict(
        metrics=metrics, date='2026-11-22T12:00:00', commit='abc1234', seed=3, machine='8 x K40', params='x',
        image_set='y')))
    return row


def test_what_a_test_wrote_is_found_and_held_against_the_band(tmp_path):
    good = write_result(tmp_path, 'paper_voc07_rfcn_ohem300', {'mAP@0.5': 0.79, 'AP@0.5/car': None})
    bad = write_result(tmp_path, 'paper_voc07_rfcn', {'mAP@0.5': 0.75})
    coco = write_result(tmp_path, 'paper_coco_val_rfcn', {'AP': 0.276, 'AP50': 0.49})
    cells = {row.name: values for row, values in show.lines(tmp_path, [good, bad, coco])}
    # 79.5 - 2 * 0.39 = 78.7; 76.6 - 0.78 = 75.8; for COCO no spread is published
    assert cells[good.name][4:6] == ['79.0 (2026-11-22 12:00, abc1234, seed 3, 8 x K40) ok', 'mAP@0.5 >= 78.7']
    assert cells[bad.name][4].startswith('75.0 ') and cells[bad.name][4].endswith(' below')
    assert cells[coco.name][4:6] == ['27.6 / 49.0 (2026-11-22 12:00, abc1234, seed 3, 8 x K40)', 'spread unknown']


@pytest.mark.parametrize('text', ['', '[]', '{"metrics": {"mAP@0.5": "high"}}', '{"metrics": 3}'])
def test_a_damaged_result_is_passed_over_and_the_log_read(tmp_path, text):
    row = write_result(tmp_path, 'paper_voc07_rfcn', {})
    note, = tmp_path.rglob('result.json')
    note.write_text(text)
    assert show.lines(tmp_path, [row])[0][1][4] == 'not measured'
    (note.parent / 'log.txt').write_text(VOC_LOG)
    assert show.lines(tmp_path, [row])[0][1][4].startswith('95.0 (2026-11-22 11:30')


def test_a_run_with_other_settings_is_told_apart_and_not_judged(tmp_path):
    row = write_result(tmp_path, 'paper_voc07_rfcn_ohem300', {'mAP@0.5': 0.9})
    folder, = [path.parent for path in tmp_path.rglob('result.json')]

    def outcome(*overrides):
        (folder / 'test_config.yaml').write_text(dump(load_config(row.cfg_path, overrides)))
        return show.lines(tmp_path, [row])[0][1][4]
    own = '90.0 (2026-11-22 12:00, abc1234, seed 3, 8 x K40) ok'
    elsewhere = ['gpus=', 'output_path=/o', 'dataset.dataset_path=/d', 'network.pretrained=/w/resnet_v1_101', 'seed=3']
    assert outcome() == outcome(*elsewhere) == outcome('network.POOL1=padded') == own
    assert outcome('TRAIN.ALTERNATE.rpn1_epoch=1', 'network.pretrained=/w/mine') == \
        '90.0 (2026-11-22 12:00, abc1234, seed 3, 8 x K40; other network.pretrained, TRAIN.ALTERNATE.rpn1_epoch)'
    (folder / 'test_config.yaml').write_text('nonsense: 1')
    assert show.lines(tmp_path, [row])[0][1][4].endswith('8 x K40; other settings, which this version cannot read)')


def test_a_row_without_a_published_result_shows_what_was_measured(tmp_path):
    demo = write_result(tmp_path, 'demo', {'mAP@0.5': 0.91, 'mAP@0.7': 0.7, 'AP@0.5/ball': 1.0})
    _, cells = show.lines(tmp_path, [demo])[0]
    assert cells[1:4] == ['mAP@0.5 / mAP@0.7', '-', '-'] and cells[4].startswith('91.0 / 70.0 (') and cells[5] == '-'


def test_other_projects_figures_make_a_band_too(tmp_path):
    row = write_result(tmp_path, 'resnet_v1_50_voc0712_rfcn_end2end_ohem', {'mAP@0.5': 0.77, 'mAP@0.7': 0.6})
    _, cells = show.lines(tmp_path, [row])[0]
    assert cells[2:4] == ['-', '-'] and cells[4].endswith(' ok') and cells[5] == 'mAP@0.5 >= 76.6'  # 77.4 - 0.78


def test_what_was_not_run_is_not_measured(tmp_path):
    for row in ROWS:
        assert measured(row, tmp_path) is None
    table = show.as_markdown(tmp_path).splitlines()
    rows, notes = table[2:len(ROWS) + 2], table[len(ROWS) + 2:]
    assert all('not measured' in line for line in rows) and notes[0] == '' and 'Gradients are summed' in ''.join(notes)
    assert '| R-FCN, OHEM of 2000 RoIs | mAP@0.5 | 79.3 | - | not measured | mAP@0.5 >= 78.5 | ' \
           '`bash experiments/rfcn/paper_voc07_rfcn_ohem2000.sh` |' in rows
    assert '| R-FCN without position sensitivity (does not converge) | - | fails | - | not measured | - | ' \
           '`bash experiments/rfcn/paper_voc07_rfcn_1x1.sh` |' in rows
    assert 'paper 32.1' not in show.as_text(tmp_path) and 'release 32.1 / 54.3 / 33.8' in show.as_text(tmp_path)


def test_a_test_set_without_annotations_is_not_measured(tmp_path):
    row = write_result(tmp_path, 'paper_voc12_rfcn_multiscale', {})
    assert measured(row, tmp_path) is None
    assert from_result('{"metrics": {"AP": null}, "date": "", "commit": "", "seed": 0, "machine": ""}').metrics == {}


def test_the_list_is_printed_without_running_anything(capsys, tmp_path):
    assert reproduce.main(['--output', str(tmp_path)]) == 0
    block = 'paper_voc07_rfcn_ohem2000: R-FCN, OHEM of 2000 RoIs\n    mAP@0.5: paper 79.3, release -, here '
    printed = capsys.readouterr().out
    assert block in printed and '; published time: test 0.17 s on a K40, training step 0.46 s\n' in printed
    assert reproduce.main(['--markdown', '--output', str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith('| setting | metric | paper | release | measured |')
