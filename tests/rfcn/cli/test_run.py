"""What the scripts share: arguments, the folder of a run, its log."""
import fcntl
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from lib.errors import ConfigError, DatasetError
from rfcn import test
from rfcn.cli.run import folder_of_test, last_checkpoint, log_to, parse_config, run_folder, start_run
from rfcn.config.config import dump, with_overrides


def test_arguments_and_overrides_come_in_any_order(tiny_yaml):
    path = tiny_yaml()
    for argv in (['--cfg', path, '--depth', '3', 'TRAIN.lr=0.5', 'seed=4'],
                 ['TRAIN.lr=0.5', '--cfg', path, 'seed=4', '--depth', '3']):
        cfg, args = parse_config('a script', argv, lambda parser: parser.add_argument('--depth', type=int))
        assert (cfg.TRAIN.lr, cfg.seed, args.depth, args.cfg) == (0.5, 4, 3, path)


def test_without_a_configuration_the_usage_is_printed(capsys):
    with pytest.raises(SystemExit):
        parse_config('a script', [])
    assert '--cfg' in capsys.readouterr().err


def test_a_mistyped_override_is_refused(tiny_yaml):
    with pytest.raises(ConfigError, match='command line: unknown key TRAIN.learningrate'):
        parse_config('a script', ['--cfg', tiny_yaml(), 'TRAIN.learningrate=1'])
    with pytest.raises(FileNotFoundError, match='nowhere.yaml'):
        parse_config('a script', ['--cfg', 'nowhere.yaml'])


def test_a_run_writes_into_a_folder_of_its_configuration_and_image_set(tiny_cfg, tmp_path):
    folder = run_folder(tiny_cfg(), 'cfgs/night_shift.yaml', '2007_test')
    assert folder == tmp_path / 'output' / 'night_shift' / '2007_test'


@pytest.mark.parametrize('name, image_set', [('config.yaml', 'train'), ('config.yaml', 'a/b+c'), ('config.yaml', '.'),
                                             ('test_config.yaml', 'test')])
def test_a_file_that_a_run_wrote_stands_for_the_yaml_of_this_run(tiny_cfg, tmp_path, name, image_set):
    folder = tmp_path / 'output' / 'night_shift' / image_set
    folder.mkdir(parents=True)
    cfg = tiny_cfg('dataset.image_set=' + image_set) if name == 'config.yaml' else tiny_cfg()
    (folder / name).write_text(dump(cfg))
    assert run_folder(cfg, str(folder / name), 'val') == tmp_path / 'output' / name[:-len('.yaml')] / 'val'
    (folder / 'log.txt').write_text('')
    for used in cfg, with_overrides(cfg, {'dataset.image_set': 'val', 'dataset.test_image_set': 'val'}):
        assert run_folder(used, str(folder / name), 'val') == tmp_path / 'output' / 'night_shift' / 'val'


def test_the_settings_of_a_test_with_another_lowest_score_stand_for_that_test(tiny_cfg, tmp_path):
    cfg, tests = tiny_cfg(), tmp_path / 'output' / 'night_shift' / 'test'
    folder = folder_of_test(cfg, 'cfgs/night_shift.yaml', 0.3)
    assert folder == tests / 'thresh_0.3'
    folder.mkdir(parents=True)
    (folder / 'test_config.yaml').write_text(dump(cfg))
    (folder / 'log.txt').write_text('')
    assert folder_of_test(cfg, str(folder / 'test_config.yaml')) == folder
    assert folder_of_test(cfg, str(folder / 'test_config.yaml'), 0.5) == tests / 'thresh_0.5'
    assert run_folder(cfg, str(folder / 'test_config.yaml'), 'train') == tests.with_name('train')


def test_any_other_file_of_that_name_is_a_yaml_like_others(tiny_cfg, tmp_path):
    (tmp_path / 'log.txt').write_text('')
    (tmp_path / 'config.yaml').write_text(dump(tiny_cfg()))
    assert run_folder(tiny_cfg(), str(tmp_path / 'config.yaml'), 'val') == tmp_path / 'output' / 'config' / 'val'


@pytest.mark.parametrize('image_set', ['../../etc', '/data/voc/train', '..', 'train/../../x'])
def test_the_name_of_an_image_set_does_not_lead_a_run_out_of_its_folder(tiny_yaml, tmp_path, image_set):
    with pytest.raises(DatasetError, match='leads out of this folder'):
        test.main(['--cfg', tiny_yaml(), '--params', 'x.params', 'dataset.test_image_set=' + image_set])
    assert os.listdir(str(tmp_path)) == ['tiny.yaml']


def test_a_run_starts_with_its_command_versions_and_configuration(tiny_yaml, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['train.py', '--cfg', 'x.yaml'])
    cfg, args = parse_config('a script', ['--cfg', tiny_yaml(), 'dataset.CLASSES=[]', 'seed=8'])
    folder = run_folder(cfg, args.cfg, 'train')
    assert folder == tmp_path / 'output' / 'tiny' / 'train'
    with start_run(with_overrides(cfg, {'TEST.NMS': 0.5}), folder) as cfg:
        with open(folder / '.lock') as lock, pytest.raises(BlockingIOError):     # it is held to the end
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log = (folder / 'log.txt').read_text()
    for text in 'command: train.py --cfg x.yaml', 'MXNet 1.9', 'NumPy ' + np.__version__, 'revision', 'seed: 8':
        assert text in log
    assert 'NMS: 0.5' in log and 'CLASSES: [blue, red]' in log  # of the data


@pytest.mark.parametrize('name', ['log.txt', 'config.yaml', 'result.json', 'tiny-symbol.json'])
def test_a_pipe_in_the_place_of_a_runs_own_file_is_refused(tiny_cfg, tmp_path, name):
    os.mkfifo(str(tmp_path / name))     # opening it would wait for a reader
    with pytest.raises(ConfigError, match=r'%s: .*named pipe' % name), start_run(tiny_cfg(), tmp_path):
        pytest.fail('the run began')
    assert sorted(os.listdir(str(tmp_path))) == sorted(['.lock', name, 'tiny.yaml'])


def test_the_log_goes_to_screen_and_file_at_its_level(tmp_path, capsys):
    log_to(tmp_path / 'log.txt', 'WARNING')
    logging.getLogger('rfcn.x').info('too much')
    logging.getLogger('rfcn.x').warning('enough')
    text = (tmp_path / 'log.txt').read_text()
    assert 'rfcn.x WARNING enough' in text and 'too much' not in text
    assert 'enough' in capsys.readouterr().out
    log_to(None)
    logging.getLogger('rfcn.x').info('screen alone')
    assert 'screen alone' in capsys.readouterr().out and 'screen alone' not in (tmp_path / 'log.txt').read_text()


def test_a_log_on_a_full_disk_is_said_to_be_so_once(capsys):
    log_to('/dev/full')
    logger = logging.getLogger('rfcn')
    for _ in range(3):
        logger.info('a line')
    assert capsys.readouterr().err == 'warning: /dev/full cannot be written: [Errno 28] No space left on device\n'


LOGGING_RUN = '''
import logging, sys
from rfcn.cli.run import log_to
from rfcn.cli.script import run_script
def main():
    log_to(sys.argv[1])
    for number in range(3000):
        logging.getLogger('rfcn').info('line %d', number)
sys.argv[0] = 'rfcn'
run_script(main)
'''


def test_a_run_whose_reader_has_enough_goes_on_in_its_log(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', LOGGING_RUN, str(tmp_path / 'log.txt')], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert 'line 0' in process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(60) == 0 and 'Traceback' not in stderr
    assert 'standard output was closed by its reader; the run goes on, its log is %s' % (tmp_path / 'log.txt') in stderr
    assert len((tmp_path / 'log.txt').read_text().splitlines()) == 3000


def test_a_run_without_standard_output_logs_to_its_file(tmp_path):
    command = 'exec "$0" -c "$1" "$2" >&-'
    done = subprocess.run(['bash', '-c', command, sys.executable, LOGGING_RUN, str(tmp_path / 'log.txt')],
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr.count('\n') == 1
    assert done.stderr.startswith('note: standard output is closed; ')
    assert len((tmp_path / 'log.txt').read_text().splitlines()) == 3000


def test_what_a_name_holds_cannot_act_on_the_terminal(tmp_path, capsys):
    log_to(tmp_path / 'log.txt')
    logging.getLogger('rfcn').warning('%s: bad', 'a\x1b[2J\x07\u202e\udcff.jpg')
    for text in capsys.readouterr().out, (tmp_path / 'log.txt').read_text():
        assert r'a\x1b[2J\x07\u202e\xff.jpg: bad' in text and '\x1b' not in text


def test_a_name_with_a_line_end_cannot_forge_a_line_of_the_log(tmp_path, capsys):
    log_to(tmp_path / 'log.txt')
    logging.getLogger('rfcn').info('configuration: in %s', 'out\n2026-01-01 00:00:00,000 rfcn INFO mAP 0.99')
    logging.getLogger('rfcn').info('%s\n%s', 'a.params', 'a table\nof 2 lines')
    for text in capsys.readouterr().out, (tmp_path / 'log.txt').read_text():
        assert r'in out\n2026-01-01 00:00:00,000 rfcn INFO mAP' in text and 'a.params\na table\nof 2 lines\n' in text
        assert len(text.splitlines()) == 4


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no /dev/full')
def test_work_that_logs_to_a_full_disk_goes_on():
    code = """
import logging, sys
from rfcn.cli.run import log_to
log_to(None)
logging.getLogger('rfcn').info('a line')
logging.getLogger('rfcn').info('another')
sys.stderr.write('the work is done')
"""
    with open('/dev/full', 'w') as full:
        ended = subprocess.run([sys.executable, '-c', code], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert ended.stderr.decode().splitlines()[-2:] == [
        'note: standard output cannot be written (No space left on device); the run goes on, and is not logged',
        'the work is done']


def test_the_last_checkpoint_is_that_of_the_test_epoch_or_of_the_last_one(tiny_cfg, tmp_path):
    folder = tmp_path / 'tiny' / 'train'
    folder.mkdir(parents=True)
    for number, overrides in ((0, ()), (1, ()), (7, ('TEST.test_epoch=7',))):     # 0: of alternating training
        path = folder / ('tiny-%04d.params' % number)
        path.touch()
        assert last_checkpoint(tiny_cfg('output_path=%s' % tmp_path, *overrides), 'x/tiny.yaml') == str(path)
    with pytest.raises(FileNotFoundError, match='tiny-0009.params: no such parameter file; train first'):
        last_checkpoint(tiny_cfg('output_path=%s' % tmp_path, 'TEST.test_epoch=9'), 'x/tiny.yaml')
