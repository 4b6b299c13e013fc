"""The one command `rfcn`: its table, its help, its mistakes."""
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

import rfcn
from lib.errors import UserError
from rfcn import cli
from rfcn.cli import COMMANDS, find_command, function_of, main
from rfcn.config.config import load_config

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['rfcn'])
    monkeypatch.setattr(sys, 'path', list(sys.path))


@pytest.mark.parametrize('name', COMMANDS)
def test_the_help_of_each_command_ends_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert printed.startswith('usage: rfcn %s ' % name)
    assert not re.search(r'\n\n    \w+ .*\.\n', printed)    # a sentence as indented as in its docstring
    assert printed.splitlines()[-1] == '  ' + ' '.join(['rfcn', name] + COMMANDS[name].example.split())


class Parsed(Exception):
    """Raised where a command would begin its work."""


@pytest.mark.parametrize('name', COMMANDS)
def test_the_words_of_each_example_are_understood_and_its_files_are_there(name, monkeypatch):
    def stop(parse):
        def parse_and_stop(self, args=None, namespace=None):
            parse(self, args, namespace)
            raise Parsed
        return parse_and_stop
    for method in ('parse_args', 'parse_intermixed_args'):
        monkeypatch.setattr(ArgumentParser, method, stop(getattr(ArgumentParser, method)))
    words = COMMANDS[name].example.split()
    with pytest.raises(Parsed):
        main([name] + words)
    assert all((ROOT / word).is_file() for word in words if word.startswith('experiments/'))
    if '--cfg' in words:
        load_config(str(ROOT / words[words.index('--cfg') + 1]), [word for word in words if '=' in word])


def test_the_help_lists_all_commands_and_imports_none(capsys):
    assert main(['--help']) == 0 and main([]) == 2
    printed = capsys.readouterr().out
    assert all('    %-16s %s\n' % (name, command.help) in printed for name, command in COMMANDS.items())
    code = 'import sys; from rfcn.cli import main; main(["--help"]); assert "mxnet" not in sys.modules'
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.DEVNULL).returncode == 0


def test_a_data_set_is_converted_without_mxnet():
    code = 'import sys; import rfcn.convert_dataset; assert "mxnet" not in sys.modules'
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 0


def test_a_command_gets_the_words_after_its_name_and_returns_its_status(monkeypatch):
    seen = []
    monkeypatch.setattr(cli, 'function_of', lambda name: lambda words: seen.append((name, words)) or 3)
    assert main(['report_env', '--x', 'y']) == 3        # - and _ are the same
    assert seen == [('report-env', ['--x', 'y'])] and sys.argv == ['rfcn report-env', '--x', 'y']


@pytest.mark.parametrize('typed, expected', [
    ('trian', '^there is no command trian: did you mean rfcn train[?] rfcn --help lists all$'),
    ('test_rpn', 'there is no command test_rpn: did you mean rfcn propose'),
    ('check_dataset', 'there is no command check_dataset: did you mean rfcn check'),
    ('zzz', 'there is no command zzz; rfcn --help lists all'),
])
def test_a_command_that_is_not_there_is_told_with_the_one_that_is_meant(typed, expected):
    with pytest.raises(UserError, match=expected):
        find_command(typed)


def test_a_command_of_the_project_says_what_an_installed_copy_lacks(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, 'ROOT', tmp_path)
    with pytest.raises(UserError, match='rfcn fetch needs the folder data of the project: clone it'):
        function_of('fetch')


def test_the_version_is_that_of_the_package(capsys):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == 'rfcn %s\n' % rfcn.__version__


def test_the_command_runs_as_a_module():
    done = subprocess.run([sys.executable, '-m', 'rfcn', 'no_such'], cwd=str(ROOT), stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr.startswith(b'error: there is no command no_such')
