"""Does anything pile up over hours? Detects, trains, starts and stops loaders, and notes what the process holds.

    python experiments/soak.py [--only detection,training,loader] [--part N] [--out output/soak]

A ResNet-18 with random parameters, pictures of 40 sizes in turn; each job in a process of its own:

    detection   20,000 pictures from their files by `Detector`, in fp32, in bf16 where this CPU is fast with it, in INT8
    training    5,000 steps by the loader, with its threads, and the module
    loader      200 epochs that are begun and left after two batches

What is held is noted a hundred times: memory, file handles, threads, child processes. Each dot that is printed is a
tenth of a job. Writes soak.json and soak.png. The exit status is 1 if in its last WINDOW hundredths a job holds more
than in its first ones: handles and processes at all, threads and memory beyond what COUNTED and GROWTH allow.
`--part 4` does a fourth of the work, `--part 100` is a try, with fewer sizes.
"""
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder
    import rfcn  # noqa: F401  gives NumPy 2 the names that MXNet asks for, so before anything imports MXNet

import mxnet as mx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.bench import subjects
from experiments.memory import draw_sizes, in_process, int8_graph, training_step, write_pictures
from lib.utils.folders import make_folder
from lib.utils.memory import resident
from lib.utils.whole_file import save_text, save_whole
from rfcn import inference
from rfcn.checkpoints.checkpoint import save_params
from rfcn.cli.script import make_parser, run_script, some_of, whole_number_from
from rfcn.collect_env import git_revision, machine, proc_field
from rfcn.core.target_loaders import anchor_loader
from rfcn.detector import Detector
from rfcn.precision.bf16 import has_bf16
from rfcn.precision.quantization import symbol_path
from rfcn.symbols import make_symbol

DEPTH, SCALE, SIZES, FEW_SIZES = 18, (96, 160), 40, 4
ANCHORS = 'network.ANCHOR_SCALES=[2, 4, 8]'     # that fit into pictures of this size
SAMPLES, WINDOW = 100, 5    # so many of the first and of the last ones are compared
DOT = 10            # samples after which a dot is printed
GROWTH = 0.05       # of the memory at the beginning: the system's allocator keeps some for later
TIMES = {'detection': 20000, 'training': 5000, 'loader': 200}
PRECISIONS = ('fp32',) + ('bf16',) * has_bf16() + ('int8',)
# How many more there may be. MXNet starts a thread for operators in Python when it first needs one more, up to 16.
COUNTED = {'handles': 0, 'threads': 2, 'processes': 0}


def held():
    """What this process holds now."""
    parents = [proc_field('/proc/%s/status' % name, 'PPid') for name in os.listdir('/proc') if name.isdigit()]
    handles, threads = (len(os.listdir('/proc/self/' + folder)) for folder in ('fd', 'task'))
    return {'MB': resident(), 'handles': handles, 'threads': threads, 'processes': parents.count(str(os.getpid()))}


def configuration(*overrides):
    """The configuration of all jobs."""
    return subjects.config(DEPTH, "gpus=''", 'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED=false', 'SCALES=[[%d, %d]]' % SCALE,
                           ANCHORS, *overrides)


def detection(precision, roidb, params):
    """A function that detects in the next picture."""
    cfg = configuration('TEST.PRECISION=' + precision)
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    save_params(params, *subjects.random_params(symbol, inference.input_shapes(cfg)))
    detector, paths = Detector(cfg, params), itertools.cycle([entry['image'] for entry in roidb])
    return lambda: detector.detect(next(paths))


def training(precision, roidb, params):
    """A function that takes the next training step."""
    step, _ = training_step(DEPTH, precision, SCALE, roidb, ANCHORS)

    def finished_step():
        step()
        mx.nd.waitall()
    return finished_step


def loader(precision, roidb, params):
    """A function that begins an epoch and leaves it."""
    cfg = configuration('TRAIN.BATCH_IMAGES=1')
    batches_of = anchor_loader(cfg, roidb, make_symbol(cfg).get_symbol(is_train=True)).batches

    def begin_and_leave():
        batches = batches_of()
        next(batches)
        next(batches)
    return begin_and_leave


JOBS = {'detection': detection, 'training': training, 'loader': loader}


def run(kind, precision, times, roidb, params):
    """Do a job so many times. Returns what was held after each SAMPLES-th part of them."""
    job, samples = JOBS[kind](precision, roidb, params), []
    for number in range(SAMPLES):
        for _ in range(times // SAMPLES):
            job()
        samples.append(held())
        if (number + 1) % DOT == 0:
            print('.', end='', flush=True)
    return samples


def faults(samples):
    """What a job holds more of at its end than it may by COUNTED and GROWTH, in words."""
    first = {name: max(sample[name] for sample in samples[:WINDOW]) for name in samples[0]}
    last = {name: min(sample[name] for sample in samples[-WINDOW:]) for name in samples[0]}
    found = ['%d %s more' % (last[name] - first[name], name) for name, more in COUNTED.items()
             if last[name] - first[name] > more]
    if last['MB'] > (1 + GROWTH) * first['MB']:
        found.append('%.0f MB more' % (last['MB'] - first['MB']))
    return found


def plot(results, path):
    """A panel for each job: memory over its course; handles, threads and processes in the title."""
    figure = Figure(figsize=(4 * len(results), 3.2), tight_layout=True)
    FigureCanvasAgg(figure)     # draws without a screen
    for axes, (title, samples) in zip(figure.subplots(1, len(results), squeeze=False)[0], results.items()):
        megabytes = [sample['MB'] for sample in samples]
        axes.plot(range(1, 1 + len(samples)), megabytes, linewidth=1.2)
        counts = ', '.join('%s %d to %d' % (name, samples[0][name], samples[-1][name]) for name in COUNTED)
        axes.set(xlabel='% of the job', ylabel='MB held', ylim=(0, 1.15 * max(megabytes)), xlim=(1, len(samples)))
        axes.set_title('%s\n%s' % (title, counts), fontsize=8)
        axes.grid(alpha=0.3)
    save_whole([path], lambda temporary: figure.savefig(temporary, dpi=90, format='png'))


def measurements(kinds, part, folder):
    """Title and samples of each job of some kinds, of which one `part`-th is done in a folder."""
    sizes = TIMES['detection'] // part // SAMPLES      # so many are seen until the first sample is taken
    roidb = write_pictures(folder, draw_sizes(SCALE, min(SIZES, max(FEW_SIZES, sizes))))
    params = folder + '/soak-0000.params'
    for kind in kinds:
        times = max(SAMPLES, TIMES[kind] // part)
        for precision in PRECISIONS if kind == 'detection' else PRECISIONS[:1]:
            title = '%s, %s, %d times' % (kind, precision, times)
            print(title, end=': ', flush=True)
            if precision == 'int8':
                save_text(symbol_path(params), in_process(int8_graph, DEPTH, SCALE, roidb[:4]))
            yield title, in_process(run, kind, precision, times, roidb, params)


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument('--only', type=some_of(JOBS), default=','.join(JOBS), help='some of %(default)s')
    parser.add_argument('--part', type=whole_number_from(1), default=1, metavar='N', help='do one N-th of the work')
    parser.add_argument('--out', type=Path, default=Path('output/soak'))
    args = parser.parse_args(argv)
    make_folder(args.out)
    results, status = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for title, samples in measurements(args.only, args.part, folder):
            results[title], found = samples, faults(samples)
            status |= bool(found)
            print(' %s; %s' % (', '.join('%s %.0f to %.0f' % (name, samples[0][name], last)
                                        for name, last in samples[-1].items()),
                              ', '.join(found) or 'nothing piled up'), flush=True)
            note = dict(command=' '.join(sys.argv), commit=git_revision(), machine=machine(''), results=results)
            save_text(args.out / 'soak.json', json.dumps(note) + '\n')
            plot(results, args.out / 'soak.png')
    return status


if __name__ == '__main__':
    run_script(main)
