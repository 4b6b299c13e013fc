"""The whole program under `ulimit -v`: a sentence where memory does not suffice, and no loss of what was trained."""
import subprocess
import sys

import pytest

from rfcn.checkpoints.resume import newest
from tests.conftest import ROOT

# `rfcn train` with a number of megabytes, besides what the imports hold, that it may ask for; 0 for no limit.
TRAIN = '''
import resource, sys
from lib.utils.memory import proc_megabytes
from rfcn import train_end2end
from rfcn.cli.script import run_script
spare = int(sys.argv.pop(1))
if spare:
    held = proc_megabytes('/proc/self/status', 'VmSize')
    resource.setrlimit(resource.RLIMIT_AS, (int(held + spare) * 2 ** 20, -1))
run_script(train_end2end.main)
'''


def train(yaml, spare, epochs):
    """Exit status and what was printed to stderr."""
    arguments = ['--cfg', yaml, 'SCALES=[[900,1080]]', 'TRAIN.RESUME=auto', 'TRAIN.end_epoch=%d' % epochs]
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', TRAIN, str(spare)] + arguments, cwd=str(ROOT),
                          timeout=200, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return done.returncode, done.stderr


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='ulimit -v is kept by Linux')
def test_a_training_that_runs_out_of_memory_says_so_once_and_its_checkpoint_is_whole(tiny_yaml, tmp_path):
    yaml, prefix = tiny_yaml(), str(tmp_path / 'output' / 'tiny' / 'train' / 'tiny')
    assert train(yaml, 0, 1)[0] == 0
    before = newest(prefix)
    for spare in 80, 300:      # megabytes: little for reading images and binding a graph, little for a step
        status, printed = train(yaml, spare, 2)
        assert status != 0
        assert printed.count('the memory did not suffice (the limit set by ulimit -v: ') == 1, printed
        assert 'What helps: smaller SCALES' in printed and 'Traceback' not in printed
        after = newest(prefix)
        assert after.progress == before.progress and after.progress.epoch == 1
        assert sorted(after.arg_params) == sorted(before.arg_params)
        assert all((after.arg_params[name].asnumpy() == before.arg_params[name].asnumpy()).all()
                   for name in before.arg_params)
    assert 'the memory did not suffice' in (tmp_path / 'output' / 'tiny' / 'train' / 'log.txt').read_text()
    assert train(yaml, 0, 2)[0] == 0 and newest(prefix).progress.epoch == 2     # it goes on where there is enough


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='ulimit -v is kept by Linux')
@pytest.mark.parametrize('spare, told', [
    (4, 'error: the memory did not suffice (the limit set by ulimit -v: '),
    (0, "RuntimeError: can't start new thread")])
def test_a_thread_that_finds_no_room_for_its_stack_is_a_lack_of_memory_where_memory_is_limited(spare, told):
    code = ('''import resource, sys, threading
from lib.utils.memory import proc_megabytes
from rfcn.cli.script import run_script
def main():
    threading.stack_size(64 * 2 ** 20)
    if %d:
        resource.setrlimit(resource.RLIMIT_AS, (int(proc_megabytes('/proc/self/status', 'VmSize') + %d) * 2 ** 20, -1))
    else:
        raise RuntimeError("can't start new thread")
    threading.Thread(target=print).start()
run_script(main)''' % (spare, spare))
    ended = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=str(ROOT), text=True, timeout=100,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert ended.returncode == 1 and told in ended.stderr
    assert ('Traceback' in ended.stderr) is (not spare)
