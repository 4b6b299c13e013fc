"""docs/own_data.md is followed word for word, in a copy of the project."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / 'docs' / 'own_data.md'
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks():
    """(language, text) of each code block, in order."""
    return BLOCK.findall(TUTORIAL.read_text(encoding='utf-8'))


@pytest.fixture
def project(tmp_path):
    """A copy of the code: the tutorial writes into the project's folder."""
    copy = tmp_path / 'project'
    ignored = shutil.ignore_patterns('__pycache__', '*.pyx', '*.c')
    for name in ('lib', 'rfcn', 'experiments/demo'):
        shutil.copytree(str(ROOT / name), str(copy / name), ignore=ignored)
    (copy / 'data').mkdir()
    return copy


def run(command, folder):
    """What a command prints; it must succeed."""
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH']    # `python` is this one
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith('COV_')}  # the copy's lines do not count
    done = subprocess.run(command, cwd=str(folder), env=dict(environment, PATH=path, PYTHONPATH=''), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def follow(steps, project):
    """Do what the blocks say; what they say is printed must be."""
    printed = ''
    for language, text in steps:
        text = text.replace('--minutes 3', '--minutes 0.01')    # three epochs
        if language == 'bash':
            printed = run(['bash', '-euc', text], project)
        elif language == 'python':
            run([sys.executable, '-c', text], project)
        elif language == 'yaml':
            name = re.match(r'# (\S+)\n', text).group(1)
            (project / name).write_text(text)
        elif printed and not text.startswith('image,x1'):
            missing = [line for line in text.splitlines() if line not in printed]
            assert missing == [], printed


def test_every_step_of_the_tutorial_does_what_it_says(project):
    data, _, *steps = blocks()
    follow([data] + steps, project)
    assert (project / 'check.html').is_file() and (project / 'drawings' / 'test_0000.png').is_file()


def test_every_step_of_the_short_way_does_what_it_says(project):
    follow(blocks()[:2], project)
    assert (project / 'drawings' / 'test_0000.png').is_file()


@pytest.mark.slow
def test_the_short_way_finds_things_on_held_out_pictures(project):
    data, short_way = [text for language, text in blocks() if language == 'bash'][:2]
    run(['bash', '-euc', data.replace('--train 48', '--train 300')], project)
    printed = run(['bash', '-euc', short_way], project)
    tables = re.findall(r'mean, area +[0-9]+ +([0-9.]+)', printed)      # of the validations, and then of the test
    assert float(tables[-1]) > 0.3, printed


def test_the_tutorial_is_made_of_known_blocks_and_names_keys_that_exist():
    from rfcn.config.defaults import KEYS
    assert {language for language, _ in blocks()} == {'bash', 'yaml', 'python', 'text'}
    named = set(re.findall(r'\b((?:TRAIN|TEST|dataset|network)\.[A-Za-z_]+)\b', TUTORIAL.read_text(encoding='utf-8')))
    assert {name for name in named if name not in KEYS} == set()


def test_the_list_in_the_tutorial_is_one_that_is_read(tmp_path):
    from lib.dataset.csv_list import read_rows
    text = next(text for language, text in blocks() if text.startswith('image,x1'))
    (tmp_path / 'train.csv').write_text(text)
    assert list(read_rows(str(tmp_path / 'train.csv'))) == [
        (2, {'image': 'a.jpg', 'x1': '12', 'y1': '30', 'x2': '111', 'y2': '95.5', 'class': 'car'}),
        (3, dict(image='b.jpg', **dict.fromkeys(('x1', 'y1', 'x2', 'y2', 'class'), '')))]
