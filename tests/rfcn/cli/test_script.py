"""How scripts end: what the user can mend is told in one sentence, whichever script it is."""
import fcntl
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest

from lib.errors import ConfigError
from rfcn.cli.script import make_parser, message, run_script

ROOT = Path(__file__).resolve().parents[3]
WITH_CONFIGURATION = ['rfcn/train_end2end.py', 'rfcn/train_alternate.py', 'rfcn/test.py', 'rfcn/propose.py',
                      'rfcn/demo.py', 'rfcn/quantize.py', 'rfcn/check_dataset.py',
                      'experiments/rfcn/rfcn_end2end_train_test.py', 'experiments/rfcn/rfcn_alternate_train_test.py',
                      'experiments/rfcn/rfcn_given_train_test.py']
ARGUMENTS = {'rfcn/demo.py': ['--params', 'a.params', '--image', 'a.jpg', '--out', 'drawn'],
             'rfcn/quantize.py': ['--params', 'a.params']}
# Of the other scripts: arguments, what is said.
OTHERS = {
    'rfcn/import_backbone.py': (['--mxnet', 'no.params'], 'no.params: no such parameter file'),
    'rfcn/convert_dataset.py': (['--from', 'voc', '--to', 'csv', '--dataset', 'no', '--sets', 'train', '--out', 'out'],
                                r'no: there is no folder ImageSets/Main'),
    'data/fetch.py': (['voc', '2007', '--folder', 'somebody_elses'], 'somebody_elses/downloads: Not a directory'),
    'experiments/ablation.py': (['--out', 'out', 'TRAIN.learningrate=1'], 'command line: unknown key TRAIN.learning'),
    'experiments/submission.py': (['--results', 'no', '--out', 'x'], 'no: no results of rfcn test there'),
    'experiments/plot_curves.py': (['no.jsonl', 'x.png'], 'no.jsonl: '),
    'experiments/reproduce.py': (['--run', 'no'], "there is no row 'no'"),
    'experiments/draw_sheet.py': (['--cfg', 'no.yaml', '--detections', 'x', '--out', 'y'], 'no.yaml: no such file'),
    'experiments/demo/make_dataset.py': (['--out', '.'], 'expected a new or empty folder'),
}


@pytest.fixture
def script(monkeypatch, capsys, tmp_path):
    """A function (path within the project, arguments) -> exit status and stderr of a script run as a program.

    It runs within this process, for a start of MXNet costs seconds.
    """
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.chdir(tmp_path)

    def run(path, *arguments):
        monkeypatch.setattr(sys, 'argv', [path] + list(arguments))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / path), run_name='__main__')
        told = capsys.readouterr().err.splitlines(True)
        return end.value.code, ''.join(line for line in told if not line.startswith('note: '))
    return run


def test_every_script_ends_as_its_user_expects():
    scripts = {path.relative_to(ROOT).as_posix(): path.read_text() for folder in ('rfcn', 'experiments', 'data')
               for path in (ROOT / folder).rglob('*.py') if "\nif __name__ == '__main__'" in path.read_text()}
    # The second is called by reproduce.py, the third is copied into a checkout of the original, rfcn launch runs the
    # fourth.
    asks_nothing = {'rfcn/__main__.py', 'experiments/rows/smoke.py', 'experiments/compare/recorder.py',
                    'rfcn/launching/agent.py'}
    others = {path for path, text in scripts.items() if not text.endswith('\n    run_script(main)\n')}
    assert others == asks_nothing and set(WITH_CONFIGURATION) | set(OTHERS) <= set(scripts)


@pytest.mark.parametrize('path', WITH_CONFIGURATION)
def test_a_wrong_key_is_one_sentence_in_every_script_with_a_configuration(path, script, tiny_yaml):
    arguments = ['--cfg', tiny_yaml(), 'TRAIN.learningrate=1'] + ARGUMENTS.get(path, [])
    status, printed = script(path, *arguments)
    assert status == 1 and printed.startswith('error: command line: unknown key TRAIN.learningrate;')
    assert printed.count('\n') == 1
    status, printed = script(path, '--traceback', *arguments)
    assert status == 1 and printed.startswith('Traceback') and printed.count('error: command line: unknown key') == 1


@pytest.mark.parametrize('path', OTHERS)
def test_a_mistake_is_one_sentence_in_every_other_script(path, script, tmp_path):
    (tmp_path / 'somebody_elses').touch()
    arguments, expected = OTHERS[path]
    status, printed = script(path, *arguments)
    assert status == 1 and re.match('error: .*' + expected, printed) and printed.count('\n') == 1


def text_of_log(tmp_path, image_set='train'):
    return (tmp_path / 'output' / 'tiny' / image_set / 'log.txt').read_text()


def damage_image(voc):
    (voc / 'JPEGImages' / 'high2.jpg').write_bytes(b'nothing')


def remove_annotation(voc):
    (voc / 'Annotations' / 'high2.xml').unlink()


@pytest.mark.parametrize('damage, overrides, expected', [
    (damage_image, (), 'high2.jpg: expected an image'),
    (damage_image, ('TRAIN.WORKERS=0',), 'high2.jpg: expected an image'),
    (remove_annotation, (), 'high2.xml: there is no such annotation file'),
    (None, ('network.pretrained=nowhere',), 'nowhere-0000.params: no such parameter file; network.pretrained names it'),
    (None, ('TRAIN.lr=1.0e+30', 'default.frequent=1', 'TRAIN.end_epoch=9'), 'a loss is not finite after'),
    (None, ('gpus=99',), 'gpus: there is no GPU 99'),
], ids=['damaged image', 'damaged image, no threads', 'no annotation', 'no backbone', 'infinite loss', 'no GPU'])
def test_what_goes_wrong_in_training_is_told_once_and_is_in_the_log(damage, overrides, expected, script, own_tiny_voc,
                                                                    tiny_yaml, tmp_path):
    if damage:
        damage(own_tiny_voc)
    status, printed = script('rfcn/train_end2end.py', '--cfg', tiny_yaml(own_tiny_voc), *overrides)
    told = [line for line in printed.splitlines() if 'error: ' in line]
    assert status == 1 and len(told) == 1 and expected in told[0] and 'Traceback' not in printed
    last = text_of_log(tmp_path).splitlines()[-1]
    assert ' rfcn ERROR ' in last and last.endswith(told[0].replace('error: ', ''))


def test_a_second_training_in_a_folder_is_refused_and_changes_nothing_there(script, tiny_yaml, tmp_path):
    folder = tmp_path / 'output' / 'tiny' / 'train'
    folder.mkdir(parents=True)
    (folder / 'config.yaml').write_text('of the first')
    for path in 'rfcn/train_end2end.py', 'rfcn/train_alternate.py':
        with open(folder / '.lock', 'a') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)    # as another process would hold it
            status, printed = script(path, '--cfg', tiny_yaml())
        assert status == 1 and re.match(r'error: \S+/output/tiny/train is in use by another run', printed)
        assert printed.count('\n') == 1
    assert (folder / 'config.yaml').read_text() == 'of the first' and not (folder / 'log.txt').exists()


def test_the_old_spelling_of_a_command_says_the_new_one(monkeypatch, capsys):
    for path, note in (('rfcn/quantize.py', 'note: quantize.py is now the command rfcn quantize\n'),
                       ('rfcn/check_dataset.py', 'note: check_dataset.py is now the command rfcn check\n'),
                       ('rfcn/test.py', '')):
        monkeypatch.setattr(sys, 'argv', [path])
        with pytest.raises(SystemExit):
            run_script(lambda: 0)
        assert capsys.readouterr().err == note


def test_an_output_folder_that_cannot_be_written_is_named_with_the_remedy(script, tiny_yaml, tmp_path):
    (tmp_path / 'file').touch()
    status, printed = script('rfcn/train_end2end.py', '--cfg', tiny_yaml(), 'output_path=file')
    assert status == 1 and printed.startswith('error: file/tiny/train: ') and printed.count('\n') == 1
    assert 'a folder is expected at %s' % (tmp_path / 'file') in printed and 'another output_path' in printed


def test_a_script_in_a_process_of_its_own_ends_in_the_same_way(tiny_yaml):
    done = subprocess.run([sys.executable, str(ROOT / 'rfcn' / 'check_dataset.py'), '--cfg', tiny_yaml(), 'SCALES=big'],
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert re.fullmatch('note: .*rfcn check\nerror: command line: SCALES must be.*\n', done.stderr)


def end_of(main, monkeypatch, *arguments):
    """Exit status of a script with this main function."""
    monkeypatch.setattr(sys, 'argv', ['script'] + list(arguments))
    with pytest.raises(SystemExit) as end:
        run_script(main)
    return end.value.code


def test_the_status_is_the_number_that_main_returns(monkeypatch):
    for returned, status in (None, 0), (0, 0), (1, 1), ('path', 0):
        assert end_of(lambda: returned, monkeypatch) == status


def test_an_error_of_the_program_keeps_its_traceback_and_goes_to_the_log(monkeypatch, tmp_path, capsys):
    def main():
        logging.basicConfig(handlers=[logging.FileHandler(str(tmp_path / 'log.txt'))], force=True)
        return {}['no such key']
    monkeypatch.setattr(sys, 'argv', ['script'])
    with pytest.raises(KeyError):
        run_script(main)
    log = (tmp_path / 'log.txt').read_text()
    assert 'Traceback' in log and "KeyError: 'no such key'" in log and capsys.readouterr().err == ''


def test_ctrl_c_ends_without_a_traceback(monkeypatch, capsys):
    def main():
        raise KeyboardInterrupt
    assert end_of(main, monkeypatch) == 130 and capsys.readouterr().err == 'error: interrupted\n'


def test_what_ctrl_c_leaves_half_made_prints_nothing_when_it_is_freed():
    code = ('import sys; sys.path[0] = %r\n'
            'from rfcn.cli.script import run_script\n'
            'class HalfMade:\n'
            '    def __init__(self):\n'
            '        raise KeyboardInterrupt\n'
            '    def __del__(self):\n'
            '        self.handle\n'
            'run_script(HalfMade)' % str(ROOT))
    ended = subprocess.run([sys.executable, '-c', code], stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (130, b'error: interrupted\n')


@pytest.mark.parametrize('name, status', [('SIGTERM', 143), ('SIGHUP', 129)])
def test_a_signal_that_ends_a_command_leaves_nothing_half_written(name, status, tmp_path):
    code = ('import os, signal, sys; sys.path[0] = %r\n'
            'from lib.utils.whole_file import whole_file\n'
            'from rfcn.cli.script import run_script\n'
            'def main():\n'
            '    with whole_file("a.txt") as path:\n'
            '        open(path, "w").close()\n'
            '        os.kill(os.getpid(), signal.%s)\n'
            '        signal.pause()\n'
            'signal.signal(signal.%s, signal.SIG_DFL)\n'        # also where the tests run under nohup
            'run_script(main)' % (str(ROOT), name, name))
    ended = subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), stderr=subprocess.PIPE, timeout=120)
    assert (ended.returncode, ended.stderr) == (status, b'error: ended by %s\n' % name.encode())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name, status, said', [('SIGINT', 130, 'interrupted'), ('SIGTERM', 143, 'ended by SIGTERM')])
def test_a_signal_within_an_operator_in_python_ends_the_command_as_elsewhere(name, status, said, monkeypatch, capsys):
    class Properties(mx.operator.CustomOpProp):
        def infer_shape(self, in_shape):
            signal.raise_signal(getattr(signal, name))
            return in_shape, in_shape, []
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL), signal.signal(signal.SIGINT, signal.default_int_handler)
    mx.operator.register('ended_by_' + name)(Properties)
    try:
        assert end_of(lambda: mx.nd.Custom(mx.nd.zeros(1), op_type='ended_by_' + name), monkeypatch) == status
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert capsys.readouterr().err == 'error: %s\n' % said


def test_a_command_that_was_started_to_outlive_its_terminal_does(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)       # as nohup does
    try:
        assert end_of(lambda: os.kill(os.getpid(), signal.SIGHUP), monkeypatch) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_has_enough_before_the_work_is_done_ends_it_with_a_sentence():
    code = 'import sys; sys.path[0] = %r; from rfcn.cli.script import *; run_script(lambda: print("x\\n" * 10 ** 6))'
    process = subprocess.Popen([sys.executable, '-c', code % str(ROOT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert said.startswith(b'error: standard output was closed by its reader') and said.count(b'\n') == 1
    assert process.wait() == 1


def test_errors_of_the_system_name_their_file():
    with pytest.raises(OSError) as raised:
        open('/nowhere/at/all')
    assert message(raised.value) == '/nowhere/at/all: No such file or directory'
    assert message(OSError('the disk is full')) == 'the disk is full' and message(ConfigError()) == 'ConfigError'


@pytest.mark.parametrize('call', ['print("x")', 'print("x", flush=True)', 'print("x") or sys.exit()'],
                         ids=['at the end', 'at once', 'as of --help'])
def test_a_full_disk_behind_standard_output_is_told_in_a_sentence(call):
    code = 'import sys; sys.path[0] = %r; from rfcn.cli.script import *; run_script(lambda: %s)' % (str(ROOT), call)
    with open('/dev/full', 'w') as full:
        ended = subprocess.run([sys.executable, '-c', code], stdout=full, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, PYTHONUNBUFFERED=''))
    said = 'error: standard output or a file cannot be written: No space left on device\n'
    assert (ended.returncode, ended.stderr) == (1, said)


def test_a_name_that_is_no_utf8_is_told_in_a_sentence(monkeypatch, tmp_path, capsys):
    def main():
        (tmp_path / 'a').write_text('a\nw\udcff.jpg,1', encoding='utf-8')
    assert end_of(main, monkeypatch) == 1
    assert capsys.readouterr().err.startswith(r'error: w\xff.jpg,1: a name that is no UTF-8, and here it must be')


def test_where_standard_error_cannot_be_written_the_log_and_the_status_still_tell(tmp_path):
    code = ('import logging, sys; sys.path[0] = %r\n'
            'from rfcn.cli.script import run_script\n'
            'def main():\n'
            '    logging.basicConfig(handlers=[logging.FileHandler("log.txt")])\n'
            '    raise KeyboardInterrupt\n'
            'run_script(main)' % str(ROOT))
    with open('/dev/full', 'w') as full:
        ended = subprocess.run([sys.executable, '-c', code], stderr=full, cwd=str(tmp_path))
    assert ended.returncode == 130 and 'interrupted' in (tmp_path / 'log.txt').read_text()


def test_what_standard_error_does_not_take_changes_no_status():
    code = 'import sys; sys.path[0] = %r; from rfcn.cli.script import *; run_script(lambda: make_parser("").error("x"))'
    with open('/dev/full', 'w') as full:
        ended = subprocess.run([sys.executable, '-c', code % str(ROOT)], stdout=full, stderr=full,
                               env=dict(os.environ, PYTHONUNBUFFERED=''))
    assert ended.returncode == 2


def test_a_file_where_a_folder_is_expected_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError) as raised:
        (tmp_path / 'file').mkdir(exist_ok=True)
    assert message(raised.value).endswith('file: a folder is expected there, and it is a file')


def test_the_help_names_the_argument_that_shows_tracebacks_and_main_never_sees_it(monkeypatch):
    parser = make_parser('a script')
    assert '--traceback' in parser.format_help()
    assert end_of(lambda: vars(parser.parse_args()) and 7, monkeypatch, '--traceback') == 0     # no argument is left


def test_the_argument_behind_two_dashes_is_for_the_command_that_is_started(monkeypatch, capsys):
    def main():
        raise ConfigError(' '.join(sys.argv[1:]))
    assert end_of(main, monkeypatch, '--workers', '2', '--', 'train', '--traceback') == 1
    assert capsys.readouterr().err == 'error: --workers 2 -- train --traceback\n'
    assert end_of(main, monkeypatch, '--traceback', '--', 'train') == 1
    assert 'Traceback' in capsys.readouterr().err
