"""From an image file to boxes: ResNets in fp32 and INT8 at 600x1000, 21 classes, 300 RoIs.

One image at a time, and the throughput of several at a time and of several processes with a share of the cores each.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from experiments.bench import measure, subjects
from lib.utils.memory import peak

PRECISIONS = subjects.PRECISIONS


def run(short):
    """Rows of the table of inference."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        roidb = subjects.write_images(folder, 1)
        for depth in (101,) if short else (50, 101, 152):
            rows += measured(subjects.Detection(depth, roidb), depth, rounds=5 if short else 15)
            for row in rows[-len(PRECISIONS):]:
                row['operators'], row['not convolution'] = operators(depth, row['precision'], roidb)
    for row in rows:
        row['peak MB'] = measure.in_process('detection_memory', depth=row['depth'], precision=row['precision'])
    return rows


def measured(detection, depth, rounds):
    """A row for each precision; they take turns."""
    seconds = measure.in_turn({name: lambda name=name: detection.run(name) for name in PRECISIONS}, rounds, warm_up=2)
    work = measure.gflop(detection.symbol, data=(1, 3, subjects.HEIGHT, subjects.WIDTH), im_info=(1, 3))
    rows = []
    for precision in PRECISIONS:
        parts = seconds[precision]
        rows.append(dict(backbone='ResNet-%d' % depth, depth=depth, precision=precision, GFLOP=work, **parts))
        rows[-1].update({'GFLOP/s': work / parts['network'], 'of fp32': parts['total'] / seconds['fp32']['total']})
    return rows


def operators(depth, precision, roidb, rounds=5):
    """Where the time from file to boxes goes: kind of operator -> seconds, and the share of all that is no convolution.

    Medians of some runs, operator by operator. Operators in Python, which the profiler does not see, and the engine's
    own work are what the network takes beside its operators: nothing, where operators ran side by side and their sum is
    longer than the network.
    """
    runs = []
    with measure.single_operators():
        detection = subjects.Detection(depth, roidb, precisions=(precision,))
        for _ in range(1 + rounds):
            parts = {}
            kinds = measure.by_kind(measure.operator_seconds(lambda: parts.update(detection.run(precision))))
            rest = {'besides operators': max(0.0, parts['network'] - sum(kinds.values()))}
            share = {'not convolution': 1 - kinds.get('convolution', 0.0) / sum(parts.values())}
            runs.append(dict(kinds, **rest, **share))
    medians = {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}
    return medians, medians.pop('not convolution')


def peak_memory(depth, precision):
    """Megabytes that the detection needs at most, calibration aside."""
    with tempfile.TemporaryDirectory() as folder:
        detection = subjects.Detection(depth, subjects.write_images(folder, 1), precisions=(precision,))
        for _ in range(2):
            detection.run(precision)
    return peak()


def run_scaling(short):
    """Rows of the table of scaling: images per second, with the same cores in all."""
    cores = sorted(os.sched_getaffinity(0))
    depth, batches = (50, (1, 2)) if short else (101, (1, 2, 4))
    rows = []
    for precision in ('int8',) if short else ('fp32', 'int8'):
        for processes in [n for n in (1, 2) if n <= len(cores)]:
            for images in batches:
                settings = dict(depth=depth, precision=precision, images=images, seconds=4 if short else 12)
                rows.append(dict(backbone='ResNet-%d' % depth, precision=precision, processes=processes, images=images))
                rows[-1]['images/s'] = throughput(processes, cores, settings)
    return rows


def throughput(processes, cores, settings):
    """Images a second of several processes together, each on its share of the cores."""
    share = len(cores) // processes
    workers = [_start(cores[i * share:(i + 1) * share], settings) for i in range(processes)]
    for worker in workers:
        worker.stdout.readline()  # it is ready
    for worker in workers:
        worker.stdin.write(b'go\n')
        worker.stdin.flush()
    return sum(json.loads(worker.communicate()[0].decode()) for worker in workers)


def _start(cores, settings):
    job = json.dumps(dict(settings, job='worker'))
    environment = {name: value for name, value in os.environ.items() if name != 'MXNET_OMP_MAX_THREADS'}  # chosen anew
    return subprocess.Popen([sys.executable, '-W', 'ignore', measure.SCRIPT, '--job', job], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores))


def work(depth, precision, images, seconds):
    """One process: detects for some seconds once it is told to. Returns images per second."""
    with tempfile.TemporaryDirectory() as folder:
        detection = subjects.Detection(depth, subjects.write_images(folder, images), images, (precision,))
        detection.run(precision)
        print('ready', flush=True)
        sys.stdin.readline()
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            detection.run(precision)
            done += images
        return done / (time.perf_counter() - started)
