"""Does memory grow with the number of image sizes? Trains and detects with a real network and notes what is held.

    python experiments/memory.py [--depth 50,101] [--precision fp32,bf16] [--scale 200,333] [--sizes 200] [--steps 600]

For each network and precision four processes: a training over many sizes and one over the largest of them alone, and
the same for detection (INT8 too). Each size is a picture of its own, random and with a few objects; both orientations.
Parameters are random. Training is by the project's loader and module, detection by its predictor. Writes memory.json
and memory.png: megabytes over steps, the peaks, their ratio, the growth from step `--sizes`, when each was seen once,
to the end, and the seconds of processor time of a step. The two processes of a pair take turns step by step, so that
their times are those of one run. The exit status is 1 if a ratio exceeds --bound.
"""
import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder
    import rfcn  # noqa: F401  gives NumPy 2 the names that MXNet asks for, so before anything imports MXNet

import mxnet as mx
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.bench import subjects
from experiments.bench.training import DATA, LABELS, OPTIMIZER
from lib.utils.folders import make_folder
from lib.utils.image_file import imwrite
from lib.utils.memory import peak, resident
from lib.utils.whole_file import save_text, save_whole
from rfcn import inference
from rfcn.cli.script import make_parser, positive, run_script, some_of, whole_number_from
from rfcn.collect_env import git_revision, machine
from rfcn.core.detect import INT8_SIZES, SIZES, Predictor
from rfcn.core.image_loaders import image_loader
from rfcn.core.module import TrainModule
from rfcn.core.target_loaders import anchor_loader
from rfcn.precision import quantization
from rfcn.precision.bf16 import with_bf16_convolutions, with_bf16_weights
from rfcn.symbols import make_symbol
from rfcn.symbols.resnet_v1 import RESNET_V1

MANY, ONE = 'many sizes', 'the largest alone'
TRAINING, DETECTION = 'training', 'detection'
PRECISIONS = ('fp32', 'bf16', 'int8')


def draw_sizes(scale, count):
    """`count` different (height, width): shorter side as scaled, longer sides up to the longest; the largest first."""
    shorter, longest = scale
    sizes = [(shorter, longer) for longer in range(longest, shorter, -1)]
    sizes = [size for pair in zip(sizes, [size[::-1] for size in sizes]) for size in pair]
    if len(sizes) < count:
        raise SystemExit('--scale %d,%d gives %d sizes at most, not %d' % (shorter, longest, len(sizes), count))
    rest = np.random.RandomState(0).permutation(len(sizes) - 1)[:count - 1] + 1
    return [sizes[0]] + [sizes[i] for i in rest]


def write_pictures(folder, sizes):
    """A picture of each size. Returns roidb entries with 1 to 8 objects."""
    rng = np.random.RandomState(0)
    roidb = []
    for number, (height, width) in enumerate(sizes):
        path = '%s/%d.jpg' % (folder, number)
        imwrite(path, rng.randint(0, 255, (height, width, 3)).astype(np.uint8))
        corners = rng.uniform(0, 0.5, (1 + number % 8, 2)) * (width, height)
        boxes = np.hstack((corners, corners + rng.uniform(0.2, 0.4, corners.shape) * (width, height)))
        roidb.append(dict(image=path, index=str(number), height=height, width=width, flipped=False,
                          boxes=boxes.astype(np.float32), gt_classes=rng.randint(1, 21, len(boxes)).astype(np.int32)))
    return roidb


def training_step(depth, precision, scale, roidb, *overrides):
    """A function that takes the next training step, and the peak that the log would tell beforehand."""
    cfg = subjects.config(depth, 'TRAIN.BATCH_IMAGES=1', 'SCALES=[[%d, %d]]' % scale, *overrides)
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    loader = anchor_loader(cfg, roidb, symbol)
    first = loader.largest_batch()
    shapes = {desc.name: desc.shape for desc in first.provide_data + first.provide_label}
    params = subjects.random_params(symbol, shapes)
    graph = with_bf16_convolutions(symbol) if precision == 'bf16' else symbol
    module = TrainModule(graph, DATA, LABELS, [mx.cpu()], fixed=cfg.network.FIXED_PARAMS)
    module.start(first, *params, optimizer_params=OPTIMIZER)
    batches = (batch for epoch in itertools.count() for batch in loader.batches(epoch))
    return lambda: module.step(next(batches)), module.expected_memory()


def detection_step(depth, precision, scale, roidb):
    """A function that detects in the next picture; there is no peak told beforehand."""
    cfg = subjects.config(depth, 'SCALES=[[%d, %d]]' % scale)
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    params = subjects.random_params(symbol, inference.input_shapes(cfg))
    loader = image_loader(cfg, roidb)
    if precision == 'int8':
        symbol = mx.sym.load_json(in_process(int8_graph, depth, scale, roidb[:4]))
    elif precision == 'bf16':
        symbol, *params = with_bf16_weights(symbol, *params)
    predictor = Predictor(symbol, inference.INPUTS, [mx.cpu()], *params,
                          sizes=INT8_SIZES if precision == 'int8' else SIZES)
    batches = (batch for _ in itertools.count() for batch in loader.batches())
    return lambda: predictor.predict(next(batches)), None


def int8_graph(depth, scale, roidb):
    """An INT8 graph as JSON; made in a process of its own, as users make it."""
    cfg = subjects.config(depth, 'SCALES=[[%d, %d]]' % scale)
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    params = subjects.random_params(symbol, inference.input_shapes(cfg))
    return quantization.quantize(symbol, *params, image_loader(cfg, roidb).batches())[0].tojson()


STEPS = {TRAINING: training_step, DETECTION: detection_step}


def in_process(function, *args):
    """Call a function in a new process, which ends with this one, however this one ends."""
    with multiprocessing.get_context('spawn').Pool(1, end_with_parent) as pool:
        return pool.apply(function, args)


def end_with_parent():
    """Have this process end as soon as its parent is gone: of a parent that is killed nothing else would tell it."""
    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=wait, daemon=True).start()


def serve(connection, part, *args):
    """A process: takes a step whenever it is told to; answers with what it holds, has held, and took."""
    step, expected = STEPS[part](*args)
    connection.send(expected)
    while connection.recv():
        started = time.process_time()
        step()
        mx.nd.waitall()
        connection.send((time.process_time() - started, resident(), peak()))


def measure(part, depth, precision, scale, roidb, steps, steps_of_one):
    """Two processes in turn, over all pictures and over the first alone. Returns name -> samples, and the peak told."""
    context, ends, processes, expected = multiprocessing.get_context('spawn'), {}, [], None
    for name, entries in ((MANY, roidb), (ONE, roidb[:1])):
        ends[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, daemon=False,
                                         args=(theirs, part, depth, precision, scale, entries)))
        processes[-1].start()
        theirs.close()  # so that a process that fails is an EOFError here
        told = ends[name].recv()
        expected = expected or told
    samples = {MANY: [], ONE: []}
    for number in range(steps):
        for name, end in ends.items():
            if name == MANY or number < steps_of_one:
                end.send(True)
                samples[name].append(end.recv())
    for end, process in zip(ends.values(), processes):
        end.send(False)
        process.join()
    return samples, expected


def summary(samples, expected, sizes):
    """What the samples of a pair say: peaks, their ratio, growth after all sizes were seen, time of a step."""
    peaks = {name: max(sample[2] for sample in of_name) for name, of_name in samples.items()}
    held = [sample[1] for sample in samples[MANY]]
    rounds = [statistics.median(sample[0] for sample in of_name[2:] or of_name) for of_name in samples.values()]
    facts = {'peak': peaks[MANY], 'peak of the largest alone': peaks[ONE], 'ratio': peaks[MANY] / peaks[ONE],
             'steps': len(held), 'expected': expected,
             'seconds of a step': rounds[0], 'of one size': rounds[1]}
    if len(held) > 1.5 * sizes:
        window = max(1, sizes // 4)
        facts['growth from step %d to %d' % (sizes, len(held))] = (max(held[-window:])
                                                                   - max(held[sizes - window:sizes]))
    return facts


def plot(results, path):
    """A panel for each measurement: what is held over steps, and the peak of the largest size alone."""
    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.7 * rows), tight_layout=True)
    FigureCanvasAgg(figure)
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in panels[len(results):]:
        axes.set_visible(False)
    for axes, (title, result) in zip(panels, results.items()):
        facts = result['summary']
        axes.plot(range(1, 1 + len(result['held'])), result['held'], linewidth=1.2, label=MANY)
        axes.axhline(facts['peak of the largest alone'], color='tab:orange', label='peak, ' + ONE)
        axes.axhline(1.25 * facts['peak of the largest alone'], color='0.6', linestyle=':', label='1.25 times')
        axes.set(title='%s: %.2f' % (title, facts['ratio']), ylim=(0, None), xlim=(1, None), ylabel='MB')
        axes.set_xlabel({TRAINING: 'steps', DETECTION: 'images'}[title.split(',')[0]])
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=7, loc='lower right')
    save_whole([path], lambda temporary: figure.savefig(temporary, dpi=90, format='png'))


def measurements(args, roidb):
    """Title, samples and peak told of each part, network and precision that is asked for."""
    for part, depth, precision in itertools.product(args.part, args.depth, args.precision):
        if part == DETECTION or precision != 'int8':
            yield ('%s, ResNet-%s, %s' % (part, depth, precision),
                   *measure(part, int(depth), precision, args.scale, roidb, args.steps, args.steps_of_one))


def two_sides(text):
    """An argument's type for argparse: shorter and longest side, as '200,333'."""
    sides = tuple(map(whole_number_from(1), text.split(',')))
    if len(sides) != 2 or sides[0] > sides[1]:
        raise argparse.ArgumentTypeError('expected shorter and longest side, such as 200,333, not %r' % text)
    return sides


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument('--depth', type=some_of([str(depth) for depth in RESNET_V1]), default='50,101',
                        help='of the ResNet')
    parser.add_argument('--precision', type=some_of(PRECISIONS), default=','.join(PRECISIONS),
                        help='INT8 is for detection alone')
    parser.add_argument('--part', type=some_of(STEPS), default=','.join(STEPS))
    parser.add_argument('--scale', type=two_sides, default='200,333', help='shorter and longest side')
    parser.add_argument('--sizes', type=whole_number_from(1), default=200)
    parser.add_argument('--steps', type=whole_number_from(1), default=600)
    parser.add_argument('--steps-of-one', type=whole_number_from(1), default=30,
                        help='of the process that sees the largest size alone')
    parser.add_argument('--bound', type=positive, default=1.25, help='ratio of the peaks that passes')
    parser.add_argument('--out', type=Path, default=Path('output/memory'))
    args = parser.parse_args(argv)
    make_folder(args.out)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        roidb = write_pictures(folder, draw_sizes(args.scale, args.sizes))
        for title, samples, expected in measurements(args, roidb):
            facts = summary(samples, expected, args.sizes)
            results[title] = {'summary': facts, 'held': [round(sample[1], 1) for sample in samples[MANY]]}
            print(title + ': ' + ', '.join('%s %.4g' % item for item in facts.items() if item[1] is not None),
                  flush=True)
            note = dict(command=' '.join(sys.argv), commit=git_revision(), machine=machine(''), results=results)
            save_text(args.out / 'memory.json', json.dumps(note) + '\n')
            plot(results, args.out / 'memory.png')
    return int(any(result['summary']['ratio'] > args.bound for result in results.values()))


if __name__ == '__main__':
    run_script(main)
