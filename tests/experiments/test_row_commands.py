"""Running a row from nothing: which data and weights it needs, and in which order things happen."""
import logging
import signal
import sys
from pathlib import Path

import pytest

from experiments import reproduce
from experiments.rows import commands
from experiments.rows.table import ROOT, find_row
from lib.errors import UserError
from rfcn.cli.script import Signalled
from rfcn.config.config import load_config


@pytest.fixture
def calls(monkeypatch):
    """What would have been run, in order: list of tuples."""
    made = []
    monkeypatch.setattr(commands, 'call', lambda command: made.append(tuple(command)))
    monkeypatch.setattr(commands, 'run_scripts', lambda row, overrides: made.append((row.name, tuple(overrides))))
    monkeypatch.setattr(commands, 'make_dataset', lambda folder: made.append(('make_dataset', folder)))
    return made


@pytest.mark.parametrize('image_set, package', [
    ('2007_trainval', '2007'), ('2007_test', '2007'), ('2012_trainval', '2012'), ('2012_test', '2012test'),
    ('train2014', '2014'), ('val2014', '2014'), ('minival2014', 'minival'), ('valminusminival2014', 'minival'),
    ('test-dev2015', 'test2015'), ('train2017', '2017'), ('test-dev2017', 'test2017')])
def test_each_image_set_has_its_archives(image_set, package):
    assert commands.package_of(image_set) == package


def test_the_data_are_fetched_only_for_the_project_s_own_folder(calls):
    cfg = load_config(find_row('paper_voc12_rfcn_multiscale').cfg_path)
    commands.fetch_data(cfg)
    assert calls == [(sys.executable, str(ROOT / 'data' / 'fetch.py'), 'voc', '2007', '2012', '2012test')]
    del calls[:]
    commands.fetch_data(load_config(find_row('paper_coco_val_rfcn').cfg_path))
    commands.fetch_data(load_config(find_row('demo').cfg_path))
    commands.fetch_data(load_config(find_row('paper_voc07_rfcn').cfg_path, ['dataset.dataset_path=/elsewhere']))
    assert calls == [(sys.executable, str(ROOT / 'data' / 'fetch.py'), 'coco', '2014'),
                     ('make_dataset', ROOT / 'data' / 'demo')]


def test_missing_weights_are_made_once_and_their_settings_remembered(monkeypatch, tmp_path, caplog):
    made = []

    def fake_import(*arguments):
        made.append(arguments)
        (tmp_path / 'resnet_v1_101-0000.params').touch()
        (tmp_path / 'resnet_v1_101-0000.yaml').write_text('network: {PIXEL_MEANS: [103.06, 115.9, 123.15], '
                                                          'STRIDE_IN_3X3: false, POOL1: padded}')
    monkeypatch.setattr(commands.import_backbone, 'convert', fake_import)
    cfg = load_config(find_row('paper_voc07_rfcn').cfg_path, ['network.pretrained=%s' % (tmp_path / 'resnet_v1_101')])
    assert commands.weight_settings(cfg) == commands.weight_settings(cfg) == ['network.POOL1=padded']
    assert made == [('gluoncv', 'resnet101_v1', tmp_path)]
    assert 'is made of GluonCV\'s resnet101_v1. The release, MatR and pyR start from Caffe\'s' in caplog.text


def test_weights_of_another_origin_are_taken_as_they_are(tmp_path):
    (tmp_path / 'resnet_v1_101-0000.params').touch()
    cfg = load_config(find_row('paper_voc07_rfcn').cfg_path, ['network.pretrained=%s' % (tmp_path / 'resnet_v1_101')])
    assert commands.weight_settings(cfg) == []
    cfg = load_config(find_row('paper_voc07_rfcn').cfg_path, ['network.pretrained=%s' % (tmp_path / 'final')])
    assert commands.weight_settings(cfg) == []


def test_a_program_that_fails_stops_the_row():
    with pytest.raises(UserError, match='exit 3 ended with status 3'):
        commands.call(['bash', '-c', 'exit 3'])


SLOW_TO_END = """
import os, signal, sys, time
number, passed_on = int(sys.argv[1]), []
signal.signal(signal.SIGTERM, lambda *_: passed_on.append(True))
os.kill(os.getppid(), number)
while number == signal.SIGTERM and not passed_on:
    time.sleep(0.05)
time.sleep(1)
open(sys.argv[2], 'w').close()
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])     # Ctrl-C reaches both by itself
def test_a_program_ends_in_order_where_the_command_is_to_end(number, tmp_path):
    def end(number, frame):
        raise Signalled(signal.Signals(number))
    # a shell's background jobs, such as of CI, ignore SIGINT
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end),
              signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    try:
        with pytest.raises(KeyboardInterrupt):
            commands.call([sys.executable, '-c', SLOW_TO_END, str(int(number)), str(tmp_path / 'saved')])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert (tmp_path / 'saved').exists()


def test_a_script_runs_with_this_python_and_needs_no_virtual_environment(monkeypatch, tmp_path):
    monkeypatch.delenv('PYTHON', raising=False)
    commands.call(['bash', '-c', 'root=%s; . experiments/python.sh; echo "$python" > %s/python' % (tmp_path, tmp_path)])
    assert (tmp_path / 'python').read_text().strip() == sys.executable


def test_the_network_that_a_row_starts_from_is_trained_first(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, 'fetch_data', lambda cfg: None)
    monkeypatch.setattr(commands, 'weight_settings', lambda cfg: [])
    output = 'output_path=%s' % tmp_path
    commands.run(find_row('paper_voc07_rfcn_coco'), ['gpus=', output])
    assert [name for name, _ in calls] == ['paper_coco_testdev_rfcn_multiscale', 'paper_voc07_rfcn_coco']
    final = commands.final_params(find_row('paper_coco_testdev_rfcn_multiscale'), [output])
    assert final == tmp_path / 'paper_coco_testdev_rfcn_multiscale' / 'train2014+val2014' / 'final-0000.params'
    final.parent.mkdir(parents=True)
    final.touch()
    del calls[:]
    commands.run(find_row('paper_coco_testdev_rfcn_multiscale_testing'), ['gpus=', output])
    assert [name for name, _ in calls] == ['paper_coco_testdev_rfcn_multiscale_testing']


def test_a_row_starts_from_the_network_where_the_other_row_writes_it():
    for name in ('paper_voc07_rfcn_coco', 'paper_voc12_rfcn_coco'):
        row = find_row(name)
        cfg = load_config(row.cfg_path)
        assert Path(cfg.network.pretrained + '-0000.params') == commands.final_params(find_row(row.starts_from))


def test_a_row_that_starts_from_another_has_the_pooling_of_the_trunk_trained_there(calls, monkeypatch):
    monkeypatch.setattr(commands, 'fetch_data', lambda cfg: None)
    monkeypatch.setattr(commands, 'train_first', lambda row, overrides: None)
    monkeypatch.setattr(commands, 'weight_settings', lambda cfg: ['of=%s' % Path(cfg.network.pretrained).name])
    commands.run(find_row('paper_voc07_rfcn_coco'), ['gpus='])
    assert calls == [('paper_voc07_rfcn_coco', ('gpus=', 'of=resnet_v1_101'))]


def test_gpus_that_are_not_here_are_refused_before_anything_is_loaded(calls):
    with pytest.raises(ValueError, match='gpus: there is no GPU 0, 1, 2, 3, 4, 5, 6, 7 for MXNet here'):
        commands.run(find_row('paper_voc07_rfcn'), ['gpus=0,1,2,3,4,5,6,7'])
    assert calls == []


def test_rows_with_a_script_of_their_own_are_run_by_it(calls):
    commands.run(find_row('bccd_resnet50'), ['TRAIN.lr=0.1'])
    assert calls == [('bash', str(ROOT / 'experiments' / 'rfcn' / 'bccd_resnet50.sh'), 'TRAIN.lr=0.1')]


def test_a_network_that_is_there_is_tested_on_the_row_s_images_without_training(calls, monkeypatch, tmp_path, capsys):
    from experiments.rows import hours, schedule
    monkeypatch.setattr(hours, 'MeasuredSeconds', lambda: lambda *arguments: 0.5)
    monkeypatch.setattr(schedule, 'test_images', lambda cfg: 7200)
    monkeypatch.setattr(commands.test, 'main', lambda arguments: calls.append(tuple(arguments)))
    monkeypatch.setattr(logging.root, 'handlers', [])   # nobody has set up logging yet
    means = (102.98, 115.95, 122.77)
    (tmp_path / 'config.yaml').write_text('symbol: resnet_v1_50_rfcn\nnetwork: {PIXEL_MEANS: %s}\n' % list(means))
    row, params = find_row('paper_voc07_rfcn'), tmp_path / 'x-0000.params'
    reproduce.main(['--run', row.name, '--params', str(params), 'gpus=', 'TEST.RPN_MIN_SIZE=3'])
    assert calls[0] == (sys.executable, str(ROOT / 'data' / 'fetch.py'), 'voc', '2007')     # not 2012
    assert len(calls) == 2 and calls[1][:2] == ('--cfg', str(row.cfg_path)) and calls[1][-1] == str(params)
    cfg = load_config(row.cfg_path, calls[1][2:-2])
    assert (cfg.symbol, cfg.network.PIXEL_MEANS, cfg.TEST.RPN_MIN_SIZE) == ('resnet_v1_50_rfcn', means, 3)
    assert cfg.dataset.test_image_set == '2007_test'
    assert '7200 images at 0.50 s: about 1.0 hours' in capsys.readouterr().out


def test_a_row_on_given_proposals_says_which_command_tests_a_network(calls):
    with pytest.raises(UserError, match="rfcn test_given --cfg .* --params 'my x.params' --proposals FILE"):
        commands.test_published(find_row('paper_voc07_rfcn_selective_search'), 'my x.params')
    assert not calls
