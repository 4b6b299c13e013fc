"""The scripts as commands, from another folder: as files and with -m."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(arguments, cwd, **environment):
    """Run Python and return what it printed."""
    done = subprocess.run([sys.executable] + arguments, cwd=str(cwd), env=dict(os.environ, **environment), timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_training_and_testing_run_from_any_folder(tiny_yaml, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / 'lib').mkdir()  # a folder of this name must not get in the way
    arguments = ['--cfg', '../tiny.yaml', 'seed=3']
    tiny_yaml()
    output = command([str(ROOT / 'rfcn' / 'train_end2end.py')] + arguments, elsewhere)
    run = tmp_path / 'output' / 'tiny' / 'train'
    assert 'tiny-0001.params' in output and (run / 'tiny-0001.params').exists()
    output = command(['-m', 'rfcn.test'] + arguments, elsewhere, PYTHONPATH=str(ROOT))
    assert 'AP@0.5' in output


def test_a_python_without_the_packages_is_told_so_in_one_sentence_by_every_script(tmp_path):
    bare = tmp_path / 'python'
    bare.write_text('#!/bin/sh\nexec %s -S "$@"\n' % sys.executable)    # without site-packages
    bare.chmod(0o755)
    scripts = [['bash', 'experiments/rfcn/row.sh'], ['bash', 'experiments/demo/run.sh'],
               ['bash', 'experiments/rfcn/bccd_resnet50.sh'], [str(bare), 'rfcn/train_end2end.py'],
               [str(bare), 'rfcn/test.py'], [str(bare), 'rfcn/demo.py'], [str(bare), 'rfcn/train_alternate.py'],
               [str(bare), '-m', 'rfcn', 'train']]
    for script in scripts:
        done = subprocess.run(script, cwd=str(ROOT), env=dict(os.environ, PYTHON=str(bare), PYTHONPATH=''), text=True,
                              capture_output=True)
        assert done.returncode == 1 and done.stdout == '', script
        assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr
        assert 'call make build in the project' in done.stderr
    done = subprocess.run(['bash', 'experiments/rfcn/row.sh'], cwd=str(ROOT), text=True, stderr=subprocess.PIPE,
                          env=dict(os.environ, PYTHON=str(tmp_path / 'none')))
    assert done.returncode == 1 and done.stderr.endswith('none: no such program; run first: make build\n')
