"""Training by one process with all cores, and by two workers with half of them: `rfcn train` and `rfcn launch`.

N "apart" are N processes on the same cores that share nothing: what a worker takes longer than these, it waits for the
parameter server. "at R Gbit/s": each worker is a host of its own, a network namespace with a link of that speed in each
direction and DELAY ms (tc; needs the rights of root); the first one also has the scheduler and the server.
`python experiments/several_hosts.py --check` computes the same steps and compares.
"""
import collections
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from experiments.bench import subjects
from experiments.bench.namespaces import SHELL, Hosts, NoNamespaces
from experiments.several_hosts import gradient_bytes
from lib.errors import UserError
from rfcn import inference
from rfcn.checkpoints.checkpoint import save_params
from rfcn.collect_env import usable_processors
from rfcn.config.config import PROJECT, load_config
from rfcn.launching.agent import share_of_cores
from rfcn.precision.bf16 import has_bf16
from rfcn.precision.cpu import cores
from rfcn.symbols import make_symbol

WORKERS = 2
MORE = 3            # workers, in the last precision alone: to check what is computed for many hosts
RATES = (10, 1)     # Gbit/s
DELAY = 0.1         # milliseconds, where the kernel has netem
WARM_UP, STEPS = 2, 6
SETTINGS = dict(gpus='', network=dict(pretrained_epoch=0),
                dataset=dict(dataset='csv', image_set='train', val_image_set='', CLASSES=['thing']),
                default=dict(frequent=1),
                TRAIN=dict(lr=1e-6, lr_step='', warmup=False, end_epoch=1, FLIP=False, EVAL_PERIOD=0,
                           ASPECT_GROUPING=False))
Run = collections.namedtuple('Run', 'words output images environment')
Run.__doc__ = """A training: its command, its output folder, images of a step of all its workers, what its environment
has beside ours."""


class MeasureFailed(UserError, RuntimeError):
    """What was to be measured ended with an error."""


def run(short, depth=None):
    """Rows of the table: images per second of all processes, and a step's seconds."""
    precisions = ['fp32'] + ['bf16'] * has_bf16()
    rows, before = [], signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for precision in precisions:
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(Path(folder), depth or (50 if short else 101), precision)
                alone = bench.alone()
                rows.append(alone)
                for workers in (WORKERS, MORE) if precision == precisions[-1] else (WORKERS,):
                    rows += bench.together(workers, alone)
    finally:
        signal.signal(signal.SIGTERM, before)
    return rows


class Bench:
    """Trainings of one network on drawn pictures.

    Args:
        folder: to work in. depth: of the ResNet. precision: of its training.
    """

    def __init__(self, folder, depth, precision):
        self.folder, self.depth, self.precision = folder, depth, precision
        self.cfg = write_training(folder, depth, precision)
        self.megabytes = gradient_bytes(load_config(self.cfg)) / 1e6     # what a worker sends in a step

    def alone(self):
        """The row of one process with all cores, and as many images per step as there will be workers."""
        found = speed([self._train('alone', WORKERS)])
        return self._row('one process', 1, WORKERS, found)

    def together(self, workers, alone):
        """The rows of so many workers with an image per step each."""
        shares = [share_of_cores(i, workers) for i in range(workers)]
        apart = speed([self._train('apart%d' % i, 1, *share) for i, share in enumerate(shares)])
        yield self._row('%d apart' % workers, workers, workers, apart, alone)
        loopback = speed([self._launch(workers, [])])
        yield self._row('%d workers' % workers, workers, workers, loopback, alone, apart)
        try:
            with Hosts(workers) as hosts:
                for rate in RATES:
                    delayed = hosts.slow_down(rate, DELAY)
                    found = speed([self._launch(workers, self._options(hosts, shares))])
                    who = '%d workers at %d Gbit/s%s' % (workers, rate, ', %g ms' % DELAY if delayed else '')
                    yield dict(self._row(who, workers, workers, found, alone, apart), gbit=rate,
                               latency=DELAY / 1000 if delayed else 0.0)
        except NoNamespaces as error:
            print('note: not measured at %s Gbit/s: %s' % (' and '.join(map(str, RATES)), error), file=sys.stderr)

    def _row(self, who, workers, images, found, alone=None, apart=None):
        row = {'who': who, 'backbone': 'ResNet-%d' % self.depth, 'precision': self.precision,
               'cores': cores() or usable_processors(), 'workers': workers, 'gradient MB': self.megabytes,
               'images/s': found, 'of one process': found / alone['images/s'] if alone else 1.0,
               'step, s': images / found}
        return dict(row, **{'share of waiting': 1 - found / apart}) if apart else row

    def _train(self, name, images, cores=None, threads=None):
        """A process with so many images per step; with all cores, or with some of them and so many threads."""
        pinned = ['taskset', '-c', ','.join(map(str, cores))] if cores else []
        words = self._rfcn('train', self.folder / name, images, images)
        return Run(pinned + words, self.folder / name, images, {'OMP_NUM_THREADS': str(threads)} if threads else {})

    def _launch(self, workers, options):
        output = self.folder / 'together'
        command = self._rfcn('train', output, 1, workers)
        words = ['launch', '--workers', str(workers), '--logs', str(self.folder / 'logs'), *options, '--']
        return Run([*command[:3], *words, *command[3:]], output, workers, {})

    def _rfcn(self, name, output, images, of_all):
        return [sys.executable, '-m', 'rfcn', name, '--cfg', str(self.cfg), 'output_path=%s' % output,
                'TRAIN.BATCH_IMAGES=%d' % images, 'dataset.image_set=train%d' % of_all]

    def _options(self, hosts, shares):
        """The options of rfcn launch: a file of hosts, and a remote shell that gives each its share of the cores."""
        threads = ['OMP_NUM_THREADS=%d MXNET_OMP_MAX_THREADS=%d' % (count, count) for _, count in shares]
        (self.folder / 'hosts').write_text(hosts.lines(threads))
        pins = ''.join('%s) pin="taskset -c %s";;\n' % (name, ','.join(map(str, cores)))
                       for name, (cores, _) in zip(hosts.names, shares) if cores)
        shell = self.folder / 'shell'
        shell.write_text('#!/bin/sh\ncase $1 in\n%sesac\nexec $pin %s "$@"\n' % (pins, SHELL))
        shell.chmod(0o755)
        return ['--hosts', str(self.folder / 'hosts'), '--rsh', str(shell)]


def write_training(folder, depth, precision):
    """Pictures, lists of them for so many images per step, random weights, a configuration. Returns its path."""
    roidb = subjects.write_images(str(folder), (WARM_UP + STEPS) * MORE)
    for images in range(1, MORE + 1):
        with (folder / ('train%d.csv' % images)).open('w') as file:
            writer = csv.writer(file)
            for entry in roidb[:(WARM_UP + STEPS) * images]:
                for box in entry['boxes']:
                    writer.writerow([Path(entry['image']).name, *map(int, box), 'thing'])
    base = load_config(subjects.CONFIG, ['symbol=resnet_v1_%d_rfcn' % depth])
    params = subjects.random_params(make_symbol(base).get_symbol(is_train=False), inference.input_shapes(base))
    heads = ('rpn', 'conv_new', 'rfcn')
    save_params(str(folder / 'random-0000.params'),
                {name: value for name, value in params[0].items() if not name.startswith(heads)}, params[1])
    settings = dict(SETTINGS, BASE=subjects.CONFIG, symbol='resnet_v1_%d_rfcn' % depth,
                    network=dict(SETTINGS['network'], pretrained=str(folder / 'random')),
                    dataset=dict(SETTINGS['dataset'], dataset_path=str(folder)),
                    TRAIN=dict(SETTINGS['TRAIN'], PRECISION=precision))
    (folder / 'speed.yaml').write_text(yaml.safe_dump(settings))
    return folder / 'speed.yaml'


def speed(runs):
    """Images a second of trainings that run at the same time, after the first WARM_UP steps of each."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS')}     # chosen anew
    running = [subprocess.Popen(run.words, cwd=PROJECT, env=dict(environment, **run.environment),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for run in runs]
    try:
        said = [process.communicate()[0].decode('utf-8', 'replace') for process in running]
    finally:
        _end(running)
    for process, text in zip(running, said):
        if process.returncode:
            raise MeasureFailed('a training that was to be measured failed: %s' % text.strip()[-2000:])
    found = sum(images_a_second(run.output, run.images) for run in runs)
    for run in runs:
        shutil.rmtree(str(run.output))      # its checkpoints are large
    return found


def _end(processes):
    """End those that are still there because another one failed; a training writes a checkpoint first."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def images_a_second(output, images):
    """The speed of a training whose log has a line for each step, without the first WARM_UP steps.

    Args:
        images: of a step of all workers.
    """
    path, = output.glob('**/*-log.jsonl')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # images_per_s counts from the beginning of the epoch: so much time had gone by after each step
    ends = [number * images / line['images_per_s'] for number, line in enumerate(lines, 1)]
    return (len(ends) - WARM_UP) * images / (ends[-1] - ends[WARM_UP - 1])
