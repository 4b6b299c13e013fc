"""Some commands, killed or refused a call at some of their changes to files: the same result, or a sentence."""
import shutil
import sys

import pytest

from tests.faults.cases import Case, conversion, fetching
from tests.faults.run import KINDS, Trial, build_injector, even_sample, run_case

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux') or not (shutil.which('cc') or shutil.which('gcc')),
                                reason='the injector is for Linux and needs a C compiler')


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    return build_injector(tmp_path_factory.mktemp('injector'))


@pytest.mark.slow
def test_a_conversion_disturbed_anywhere_is_whole_or_refused(library, tmp_path):
    counts, findings = run_case('convert', conversion('voc', 'yolo'), 5, tmp_path / 'run', library)
    assert findings == [] and counts['kill'] == 3 and counts['EIO'] == counts['ENOSPC'] == 1


def test_a_fetch_disturbed_anywhere_ends_as_one_that_was_not(library, tmp_path):
    counts, findings = run_case('fetch', fetching(tmp_path / 'served'), 5, tmp_path / 'run', library)
    assert findings == [] and counts['kill'] == 3 and counts['the same'] == counts['kill'] + counts['EIO'] \
        + counts['ENOSPC']


CARELESS = """
import os, sys
if not os.path.exists('a.txt'):
    with open('a.txt.new', 'w') as file:
        file.write('all of it')
    with open('a.txt', 'w') as file:
        file.write('all ')
        file.flush()
        file.write('of it')
"""


@pytest.fixture
def careless(library, tmp_path):
    """A program that leaves a file of halves, and one that nobody removes."""
    case = Case(lambda folder: None, [sys.executable, '-c', CARELESS], ('a.txt',))
    trial = Trial('careless', case, tmp_path / 'run', library)
    assert trial.undisturbed() == 5     # two files opened, three times written
    return trial


def test_half_a_file_that_the_next_run_takes_as_whole_is_a_finding(careless):
    assert careless.at('kill', 5) == ('the same', ['after the next command: another content: a.txt'])
    assert careless.at('kill', 3)[1] == []      # before a.txt is opened: the next run writes it


OVERWRITING = """
with open('a.txt', 'r+') as file:
    file.write('ne')
    file.flush()
    file.write('w')
"""


def test_what_was_there_before_may_be_read_and_a_mixture_may_not(library, tmp_path):
    case = Case(lambda folder: (folder / 'a.txt').write_text('old'), [sys.executable, '-c', OVERWRITING], ('a.txt',),
                [sys.executable, '-c', "print(open('a.txt').read())"])
    trial = Trial('overwriting', case, tmp_path / 'run', library)
    changes = trial.undisturbed()
    assert trial.good == [['old'], ['new']]
    found = [trial.at('kill', point)[1] for point in range(1, changes + 1)]
    assert found[0] == [] and found[-1] == ['the reader took what is not the undisturbed result: ned\n']


def test_a_traceback_is_a_finding_and_a_point_that_is_not_reached_proves_nothing(careless):
    assert any('printed a traceback' in problem for problem in careless.at('EIO', 1)[1])
    assert any('No space left' in problem for problem in careless.at('ENOSPC', 5)[1])
    assert careless.at('kill', 6) == ('not reached', [])


def test_a_command_that_fails_undisturbed_is_a_finding_unless_it_lacks_a_package(library, tmp_path):
    for text, findings in (('what failed', [('x', 'none', 0, 'what failed')]), ('pip install onnx', [])):
        case = Case(lambda folder: None, [sys.executable, '-c', 'import sys; sys.exit(%r)' % text], ())
        assert run_case('x', case, 3, tmp_path / text, library) == ({'not run': 1}, findings)


def test_points_are_spread_evenly_from_the_first_to_the_last_change():
    assert even_sample(101, 5) == [1, 26, 51, 76, 101]
    assert even_sample(3, 5) == [1, 2, 3] and even_sample(9, 1) == [1]
    assert list(KINDS) == ['kill', 'EIO', 'ENOSPC']
