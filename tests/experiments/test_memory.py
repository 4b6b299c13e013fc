"""The measurement of memory: a few steps of it, and what it makes of samples."""
import json
import subprocess
import sys

import cv2
import pytest

from experiments import memory
from tests.conftest import ROOT

IN_PROCESS = """
if __name__ == '__main__':
    import rfcn
    from experiments.memory import in_process
    in_process(exec, "import time; print('begun', flush=True); time.sleep(60)")
"""


def test_sizes_differ_the_largest_comes_first_and_both_orientations_are_there():
    sizes = memory.draw_sizes((60, 100), 50)
    assert len(set(sizes)) == 50 and sizes[0] == (60, 100)
    assert all(min(size) == 60 and 60 < max(size) <= 100 for size in sizes)
    assert 15 < sum(height > width for height, width in sizes) < 35
    with pytest.raises(SystemExit, match='--scale 60,100 gives 80 sizes at most, not 81'):
        memory.draw_sizes((60, 100), 81)


def test_pictures_have_the_sizes_and_boxes_lie_within(tmp_path):
    roidb = memory.write_pictures(str(tmp_path), [(30, 40), (50, 20)])
    for entry, (height, width) in zip(roidb, [(30, 40), (50, 20)]):
        assert cv2.imread(entry['image']).shape[:2] == (height, width) == (entry['height'], entry['width'])
        assert (entry['boxes'][:, 2:] < (width, height)).all() and (entry['boxes'][:, :2] >= 0).all()


def test_ratio_growth_and_time_follow_from_the_samples():
    # 10 sizes: what is held rises by 10 MB a step to 190, stays, and ends 7 higher; peaks are 5 above
    held = [100 + 10 * i for i in range(10)] + [190] * 9 + [197]
    many = [(2.0, megabytes, max(held[:i + 1]) + 5) for i, megabytes in enumerate(held)]
    one = [(9.0, 100, 160), (9.0, 100, 161), (1.5, 100, 161)]
    facts = memory.summary({memory.MANY: many, memory.ONE: one}, 150, 10)
    assert facts['peak'] == 202 and facts['peak of the largest alone'] == 161 and facts['ratio'] == 202 / 161
    assert facts['growth from step 10 to 20'] == 7 and facts['expected'] == 150
    assert facts['seconds of a step'] == 2.0 and facts['of one size'] == 1.5     # the first two warm up


def test_it_trains_and_detects_and_its_exit_status_tells_whether_a_ratio_is_too_large(tmp_path, capsys):
    arguments = ['--depth', '18', '--precision', 'fp32', '--scale', '144,192', '--sizes', '3', '--steps', '5',
                 '--steps-of-one', '3', '--out', str(tmp_path), '--bound']
    assert memory.main(arguments + ['10']) == 0
    results = json.loads((tmp_path / 'memory.json').read_text())['results']
    assert list(results) == ['training, ResNet-18, fp32', 'detection, ResNet-18, fp32']
    assert all(len(result['held']) == 5 and min(result['held']) > 100 for result in results.values())
    assert cv2.imread(str(tmp_path / 'memory.png')) is not None
    assert 'training, ResNet-18, fp32: peak ' in capsys.readouterr().out
    assert memory.main(arguments + ['0.1', '--part', 'detection']) == 1


@pytest.mark.parametrize('words', ['--depth x', '--depth 51', '--scale 200', '--scale 333,200', '--scale 200,x',
                                   '--sizes 0', '--part trainig', '--precision fp16', '--bound nan'])
def test_what_cannot_be_measured_is_refused_before_it_begins(tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        memory.main(words.split() + ['--out', str(tmp_path / 'out')])
    assert 'error: argument %s: expected ' % words.split()[0] in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def check_child_ends_with_parent(tmp_path, code):
    """Run `code`, whose child prints `begun`; the child must end when its parent is killed."""
    script = tmp_path / 'parent.py'
    script.write_text('import sys\nsys.path.insert(0, %r)\n' % str(ROOT) + code)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b'begun\n'
    parent.kill()
    assert parent.communicate(timeout=30)[0] == b''      # the child has closed its end too


def test_a_process_of_its_own_ends_with_a_parent_that_is_killed(tmp_path):
    check_child_ends_with_parent(tmp_path, IN_PROCESS)
