"""The report on the machine."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rfcn
from rfcn import collect_env

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_names_the_packages_the_processor_and_the_compiled_library(capsys):
    collect_env.main([])
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines['mxnet'].startswith('1.9.1') and lines['numpy'] == np.__version__
    assert {'revision', 'Python', 'CPU', 'processors', 'memory', 'GPU', 'settings'} <= set(lines)


def test_a_package_that_fails_is_one_line_of_the_report(tmp_path, monkeypatch):
    (tmp_path / 'broken_package.py').write_text('raise OSError("libGL.so.1 is missing")')
    (tmp_path / 'plain_package.py').write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert collect_env.package_version('broken_package') == 'FAILS: OSError: libGL.so.1 is missing'
    assert collect_env.package_version('no_such_package').startswith('FAILS: ModuleNotFoundError')
    assert collect_env.package_version('plain_package') == 'present'
    monkeypatch.setitem(sys.modules, 'gluoncv', None)
    assert collect_env.package_version('gluoncv') == 'not installed; optional'


def test_a_broken_mxnet_does_not_hide_the_rest(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mxnet', None)  # what Python puts there to forbid an import
    assert collect_env.mxnet_features() == 'FAILS: ModuleNotFoundError'
    assert collect_env.collect()['mxnet'].startswith('FAILS')


def test_what_is_not_compiled_is_named(tmp_path, monkeypatch):
    (tmp_path / 'lib').mkdir()
    (tmp_path / 'lib' / 'never_built.pyx').write_text('')
    monkeypatch.setattr(collect_env, 'LIB', tmp_path / 'lib')
    assert collect_env.not_compiled() == ['lib.never_built']


def test_a_command_that_is_missing_or_fails_and_a_file_that_is_missing_tell_nothing(tmp_path):
    assert collect_env.run('no-such-command') is None
    assert collect_env.run('false') is None
    assert collect_env.proc_field(tmp_path / 'nothing', 'flags') == ''


def test_outside_a_checkout_the_version_stands_for_the_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_env, 'ROOT', tmp_path)
    assert collect_env.git_revision() == 'version ' + rfcn.__version__


def test_the_report_runs_as_a_file_from_any_folder(tmp_path):
    output = subprocess.check_output([sys.executable, str(ROOT / 'rfcn' / 'collect_env.py')], cwd=str(tmp_path),
                                     universal_newlines=True)
    assert output.startswith('revision')


@pytest.mark.parametrize('cores, told', [(4, 'usable 8, on 4 cores'), (1, 'usable 8, on 1 core'), (None, 'usable 8')])
def test_hyper_threads_are_told_apart_from_cores(monkeypatch, cores, told):
    monkeypatch.setattr(collect_env, 'usable_processors', lambda: 8)
    monkeypatch.setattr(collect_env, 'cores', lambda: cores)
    assert collect_env.collect()['processors'].endswith(told)
