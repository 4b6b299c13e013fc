"""Training by one process with all cores, and by as many workers as cores: whole `rfcn train` and `rfcn launch` runs.

"apart" are processes on the same cores that share nothing: what a worker takes longer than these, it waits for the
parameter server. "at N Gbit/s": scheduler, server and workers talk over a network of that speed, which a network
namespace of its own has for a loopback (tc's token bucket; needs the rights of root).
"""
import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import yaml

from experiments.bench import subjects
from rfcn import inference
from rfcn.checkpoints.checkpoint import save_params
from rfcn.config.config import PROJECT, load_config
from rfcn.precision.bf16 import has_bf16
from rfcn.symbols import make_symbol

RATES = (10, 1)     # Gbit/s
EPOCHS = 2          # the first one warms up
SETTINGS = dict(gpus='', network=dict(pretrained_epoch=0),
                dataset=dict(dataset='csv', image_set='train', val_image_set='', CLASSES=['thing']),
                default=dict(frequent=1),
                TRAIN=dict(lr=1e-6, lr_step='', warmup=False, end_epoch=EPOCHS, FLIP=False, EVAL_PERIOD=0,
                           CHECKPOINT_PERIOD=EPOCHS, ASPECT_GROUPING=False))


def run(short):
    """Rows of the table: images a second of all processes, and a step's seconds."""
    workers = len(os.sched_getaffinity(0))
    depth, images = (50, 4 * workers) if short else (101, 16 * workers)
    rows = []
    for precision in ['fp32'] + ['bf16'] * has_bf16():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            cfg = write_training(folder, depth, precision, images)
            alone = speed(folder, [train(cfg, folder / 'alone', workers)])
            rows.append(_row(depth, precision, 'one process of %d cores' % workers, alone, alone, workers))
            apart = speed(folder, [train(cfg, folder / ('apart%d' % i), 1, core=i) for i in range(workers)])
            rows.append(_row(depth, precision, '%d apart' % workers, apart, alone, workers))
            together = speed(folder, [launch(cfg, folder / 'together', workers)])
            rows.append(_row(depth, precision, '%d workers' % workers, together, alone, workers, apart))
            for rate in RATES:
                with network(rate) as prefix:
                    if prefix:
                        slow = speed(folder, [launch(cfg, folder / ('slow%d' % rate), workers, prefix)])
                        rows.append(_row(depth, precision, '%d workers at %d Gbit/s' % (workers, rate), slow, alone,
                                         workers, apart))
    return rows


def _row(depth, precision, what, found, alone, images, apart=None):
    row = {'backbone': 'ResNet-%d' % depth, 'precision': precision, 'who': what, 'images/s': found,
           'of one process': found / alone, 'step, s': images / found}
    return dict(row, **{'share of waiting': 1 - found / apart}) if apart else row


def write_training(folder, depth, precision, images):
    """Pictures, their list, random weights and a configuration. Returns the path of the last one."""
    with (folder / 'train.csv').open('w') as file:
        writer = csv.writer(file)
        for entry in subjects.write_images(str(folder), images):
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


def train(cfg, output, images, core=None):
    """Command and log of a process with all cores, or with the one of that number."""
    pinned = [] if core is None else ['taskset', '-c', str(sorted(os.sched_getaffinity(0))[core])]
    return pinned + _rfcn('train', cfg, output, images), output


def launch(cfg, output, workers, prefix=()):
    """Command and log of workers with an image a step each."""
    command = _rfcn('train', cfg, output, 1)
    words = ['launch', '--workers', str(workers), '--logs', str(output) + '-logs', '--']
    return [*prefix, *command[:3], *words, *command[3:]], output


def _rfcn(name, cfg, output, images):
    return [sys.executable, '-m', 'rfcn', name, '--cfg', str(cfg), 'output_path=%s' % output,
            'TRAIN.BATCH_IMAGES=%d' % images]


def speed(folder, commands):
    """Images a second of all commands together, in the last epoch.

    Args:
        commands: (words, output folder); they run at the same time.
    """
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS')}     # chosen anew
    running = [subprocess.Popen(words, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for words, _ in commands]
    said = [process.communicate()[0].decode('utf-8', 'replace') for process in running]
    for process, text in zip(running, said):
        if process.returncode:
            raise RuntimeError('a training that was to be measured failed: %s' % text[-2000:])
    return sum(_images_a_second(output) for _, output in commands)


def _images_a_second(output):
    path, = output.glob('**/*-log.jsonl')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line['images_per_s'] for line in lines if line['type'] == 'train' and line['epoch'] == EPOCHS][-1]


@contextlib.contextmanager
def network(rate):
    """Words before a command that give it a loopback of so many Gbit/s; None where the system does not let us."""
    name = 'speed' + uuid.uuid4().hex[:6]
    inside = ['ip', 'netns', 'exec', name]
    steps = [['ip', 'netns', 'add', name], inside + ['ip', 'link', 'set', 'lo', 'up'],
             inside + ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '%dgbit' % rate, 'burst', '1mb',
                       'latency', '50ms']]
    able = shutil.which('ip') and shutil.which('tc') and all(
        subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0 for words in steps)
    try:
        yield inside if able else None
    finally:
        if shutil.which('ip'):
            subprocess.run(['ip', 'netns', 'del', name], stderr=subprocess.DEVNULL)
