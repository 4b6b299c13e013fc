"""Throughput of detection: several images at a time, and several processes with a share of the cores each."""
import json
import os
import subprocess
import sys
import tempfile
import time

from experiments.bench import measure, subjects


def run(short):
    """Rows of the table of scaling: images a second, with the same cores in all."""
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
    """One process: detects for some seconds once it is told to. Returns images a second."""
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
