"""A copy that `pip install` puts into a user's environment: one package, beside whatever is there."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import write_tiny_yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The folder of an installed copy. Not compiled: that takes longer, and NumPy does the same."""
    folder = tmp_path_factory.mktemp('installed')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-index', '--no-deps', '--no-build-isolation',
                    '--wheel-dir', str(folder), str(ROOT)], check=True, env=dict(os.environ, CC='false'),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wheel, = folder.glob('rfcn-*.whl')
    with zipfile.ZipFile(str(wheel)) as archive:
        archive.extractall(str(folder / 'site'))
    return folder / 'site'


@pytest.fixture
def run(site, tmp_path):
    """A function (arguments of Python) -> what it printed, in a folder of the user's own with a package `lib`."""
    (tmp_path / 'lib').mkdir()
    (tmp_path / 'lib' / '__init__.py').write_text('MINE = 1\n')

    def run_python(*arguments):
        done = subprocess.run([sys.executable] + list(arguments), cwd=str(tmp_path), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              env=dict(os.environ, PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE='1'))
        assert done.returncode == 0, done.stdout
        return done.stdout
    return run_python


def test_nothing_but_one_package_lies_at_the_top(site):
    names = sorted(path.name for path in site.iterdir())
    assert names[0] == 'rfcn' and names[1].endswith('.dist-info') and len(names) == 2


def test_a_user_s_own_package_lib_and_the_project_do_not_see_each_other(run, site):
    printed = run('-c', 'import lib, sys; from rfcn import Detector; from rfcn.lib.errors import UserError; '
                        'import rfcn.train_alternate, rfcn.check_dataset, rfcn.export; '
                        'print(lib.MINE, sys.modules["rfcn"].__file__, '
                        '[m for m in sys.modules if m.startswith("lib.")])')
    assert printed == '1 %s []\n' % (site / 'rfcn' / '__init__.py')


def test_an_installed_copy_trains_and_tests_and_writes_nothing_beside_itself(run, site, tiny_voc, tmp_path):
    before = sorted(site.rglob('*'))
    cfg = write_tiny_yaml(tmp_path / 'tiny.yaml', tiny_voc, 'out')
    values = yaml.safe_load(Path(cfg).read_text())
    assert values['output_path'] == 'out'       # beside the file
    run('-m', 'rfcn', 'train', '--cfg', cfg)
    assert 'AP@0.5' in run('-m', 'rfcn', 'test', '--cfg', cfg)
    assert (tmp_path / 'out' / 'tiny' / 'train' / 'tiny-0001.params').is_file()
    assert 'revision version 0.1.0' in (tmp_path / 'out' / 'tiny' / 'train' / 'log.txt').read_text()
    assert sorted(site.rglob('*')) == before
