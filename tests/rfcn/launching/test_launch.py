"""`rfcn launch`: the training of one process, results to the last byte, and an end for all processes."""
import os
import shutil
import signal
import time
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from rfcn import test as test_script
from rfcn.config.config import load_config
from rfcn.train_end2end import train_net
from tests.conftest import write_tiny_yaml
from tests.rfcn.conftest import checkpoint_arrays, log_lines
from tests.rfcn.launching.conftest import ROOT, SETTINGS

RUN = Path('tiny') / 'train'    # below output_path


def trained_both_ways(tiny_yaml, tmp_path, launch, settings, *of_workers):
    """Train with two devices of this process, and with two workers; the prefixes of the checkpoints."""
    run = launch('train', '--cfg', tiny_yaml(), 'output_path=%s' % (tmp_path / 'workers'), *settings, *of_workers)
    (tmp_path / 'devices').mkdir()
    train_net(load_config(tiny_yaml(), settings), tmp_path / 'devices', [mx.cpu(0), mx.cpu(1)])
    status, printed = run.wait()
    assert status == 0, printed
    return tmp_path / 'devices' / 'tiny', tmp_path / 'workers' / RUN / 'tiny'


@pytest.mark.parametrize('more', [['TRAIN.GRAD_ACCUM=2', 'TRAIN.EVAL_PERIOD=1', 'dataset.val_image_set=train'],
                                  pytest.param(['TRAIN.PRECISION=bf16'], marks=pytest.mark.slow)],
                         ids=['accumulated', 'bf16'])
def test_two_workers_train_as_two_devices_of_one_process(tiny_yaml, tmp_path, launch, more):
    settings = SETTINGS + ['TRAIN.end_epoch=7'] + more     # 21 steps, of mixed shapes
    one, other = trained_both_ways(tiny_yaml, tmp_path, launch, settings)
    assert len(log_lines(one)) == len(log_lines(other)) == 21
    for line, same in zip(log_lines(one), log_lines(other)):
        assert line == pytest.approx(same, abs=1e-4)
    for epoch in (1, 7):
        expected, found = (checkpoint_arrays(prefix, epoch)[0] for prefix in (one, other))
        assert set(expected) == set(found)
        for name in expected:
            assert np.linalg.norm(found[name] - expected[name]) <= 1e-4 * np.linalg.norm(expected[name]) + 1e-7, name
    scores = [log_lines(prefix, 'val') for prefix in (one, other)]
    assert len(scores[0]) == (7 if 'TRAIN.EVAL_PERIOD=1' in more else 0)
    for line, same in zip(*scores):
        assert line == pytest.approx(same, abs=1e-4, nan_ok=True)


def test_gradients_of_16_bits_train_nearly_as_those_of_32(tiny_yaml, tmp_path, launch):
    settings = SETTINGS + ['TRAIN.end_epoch=1']     # 3 steps
    prefixes = trained_both_ways(tiny_yaml, tmp_path, launch, settings, 'TRAIN.WIRE_PRECISION=fp16')
    expected, found = (checkpoint_arrays(prefix, 1)[0] for prefix in prefixes)
    errors = [np.linalg.norm(found[name] - value) / np.linalg.norm(value) for name, value in expected.items()
              if name.startswith('momentum ') and np.any(value)]
    assert len(errors) > 10 and 1e-5 < max(errors) < 2e-3   # sums of gradients; 11 bits have errors up to 2^-11


def test_a_stopped_run_goes_on_to_the_last_bit_and_correctly_with_one_process(tiny_yaml, tmp_path, launch):
    settings = SETTINGS + ['TRAIN.end_epoch=8', 'TRAIN.RESUME=auto', 'TRAIN.CHECKPOINT_PERIOD=100']

    def train(folder, *more):
        return launch('train', '--cfg', tiny_yaml(), 'output_path=%s' % (tmp_path / folder), *settings, *more)
    assert train('whole').wait()[0] == 0
    stopped = train('parts')
    stopped.wait_for_lines(tmp_path / 'parts' / RUN / 'tiny-log.jsonl', 4)
    stopped.process.send_signal(signal.SIGTERM)
    status, printed = stopped.wait(60)
    assert status == 128 + signal.SIGTERM and 'TRAIN.RESUME=auto' in printed
    assert stopped.processes() == {}
    shutil.copytree(str(tmp_path / 'parts'), str(tmp_path / 'alone'))
    assert train('parts').wait()[0] == 0
    whole, parts = (tmp_path / folder / RUN / 'tiny' for folder in ('whole', 'parts'))
    assert log_lines(whole) == log_lines(parts)
    expected, found = (checkpoint_arrays(prefix, 8)[0] for prefix in (whole, parts))
    assert [name for name in expected if not np.array_equal(expected[name], found[name])] == []

    alone = tmp_path / 'alone' / RUN
    done = len(log_lines(alone / 'tiny'))
    train_net(load_config(tiny_yaml(), settings), alone)
    left = 6 * 8 - 2 * done     # images; each step of one process takes one
    assert len(log_lines(alone / 'tiny')) == done + left
    assert checkpoint_arrays(alone / 'tiny', 8)[1].epoch == 8


@pytest.mark.parametrize('name', ['worker 1'] + [pytest.param(name, marks=pytest.mark.slow)
                                                 for name in ('worker 0', 'server 0', 'scheduler')])
def test_where_a_process_is_killed_all_end_and_it_is_named(tiny_yaml, tmp_path, launch, name):
    run = launch('train', '--cfg', tiny_yaml(), 'output_path=%s' % (tmp_path / 'out'), *SETTINGS,
                 'TRAIN.end_epoch=2000', 'TRAIN.KEEP_CHECKPOINTS=2')
    run.wait_for_lines(tmp_path / 'out' / RUN / 'tiny-log.jsonl', 7)
    processes = run.processes()
    assert set(processes) == {'worker 0', 'worker 1', 'server 0', 'scheduler'}
    os.kill(processes[name], signal.SIGKILL)
    status, printed = run.wait(60)
    assert status == 1 and '%s (this host) was killed by SIGKILL' % name in printed.splitlines()[-1]
    assert run.processes() == {}
    others = {'worker 0', 'worker 1', 'server 0', 'scheduler'} - {name}
    said = {other: (tmp_path / 'logs' / (other.replace(' ', '-') + '.log')).read_text() for other in others}
    assert all('%s ' % name.partition(' 0')[0] in text.splitlines()[-1] and 'ended' in text for text in said.values())
    newest = max(int(path.name[5:9]) for path in (tmp_path / 'out' / RUN).glob('tiny-[0-9]*.params'))
    checkpoint_arrays(tmp_path / 'out' / RUN / 'tiny', newest)     # it is whole


def test_where_the_launcher_itself_is_killed_nothing_stays_behind(tiny_yaml, tmp_path, launch):
    run = launch('train', '--cfg', tiny_yaml(), 'output_path=%s' % (tmp_path / 'out'), *SETTINGS,
                 'TRAIN.end_epoch=2000')
    run.wait_for_lines(tmp_path / 'out' / RUN / 'tiny-log.jsonl', 2)
    assert len(run.processes()) == 4
    run.process.kill()
    deadline = time.monotonic() + 60
    while run.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert run.processes() == {}


@pytest.mark.slow
def test_a_mistake_is_said_once_and_ends_all(tiny_yaml, tmp_path, own_tiny_voc, launch):
    run = launch('train', '--cfg', tiny_yaml(own_tiny_voc), 'output_path=%s' % (tmp_path / 'out'), *SETTINGS)
    (own_tiny_voc / 'JPEGImages' / 'high1.jpg').write_bytes(b'no image')
    status, printed = run.wait(60)
    assert status == 1 and 'high1.jpg' in printed
    assert run.processes() == {}


def test_of_a_test_each_worker_does_its_share_and_the_files_are_those_of_one_process(tiny_arguments, tmp_path, launch):
    def words(folder):
        return [*tiny_arguments, 'output_path=%s' % (tmp_path / folder), 'TEST.BATCH_IMAGES=2',
                'dataset.test_image_set=train']
    run = launch('test', *words('workers'), options=['--workers', '4'])     # three batches: one worker has none
    test_script.main(words('one'))
    status, printed = run.wait()
    assert status == 0, printed
    one, other = tmp_path / 'one' / 'tiny' / 'train', tmp_path / 'workers' / 'tiny' / 'train'
    results = 'results/voc/Main/comp4_det_train_%s.txt'
    names = ['voc_train_detections.pkl', results % 'red', results % 'blue']
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert (one / names[1]).stat().st_size > 0


@pytest.fixture
def two_hosts(tmp_path, own_tiny_voc, tiny_voc):
    """Options of rfcn launch for two folders that stand for two hosts, each with a copy of the data."""
    shell = tmp_path / 'shell'
    shell.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    shell.chmod(0o755)
    lines = []
    for name, data in ('a', tiny_voc), ('b', own_tiny_voc):
        (tmp_path / name).mkdir()
        for package in 'rfcn', 'lib':
            (tmp_path / name / package).symlink_to(ROOT / package)
        write_tiny_yaml(tmp_path / name / 'tiny.yaml', data, tmp_path / 'out')
        lines.append('%s path=%s address=127.0.0.1\n' % (name, tmp_path / name))
    (tmp_path / 'hosts').write_text('# two folders\n\n' + ''.join(lines))
    return ['--hosts', str(tmp_path / 'hosts'), '--rsh', str(shell)]


@pytest.mark.slow
def test_hosts_with_copies_of_the_data_train_together(two_hosts, tmp_path, launch):
    status, printed = launch('train', '--cfg', 'tiny.yaml', 'output_path=%s' % (tmp_path / 'out'), *SETTINGS,
                             options=two_hosts).wait()
    assert status == 0 and (tmp_path / 'out' / RUN / 'tiny-0001.params').exists(), printed


def test_a_copy_of_the_data_that_differs_is_refused_and_its_host_named(two_hosts, tmp_path, own_tiny_voc, launch):
    picture = own_tiny_voc / 'JPEGImages' / 'wide2.jpg'
    picture.write_bytes(picture.read_bytes() + b' ')    # the same annotations, another picture
    status, printed = launch('train', '--cfg', 'tiny.yaml', 'output_path=%s' % (tmp_path / 'out'), *SETTINGS,
                             options=two_hosts).wait()
    assert status == 1 and 'the data set is not the same for all workers: worker 1 (host ' in printed
    assert not list((tmp_path / 'out' / RUN).glob('*.params'))
