"""Does memory stay flat? Trains and detects for long on images of changing size, and notes what the process holds.

    python experiments/memory.py [--steps 2000] [--detections 10000] [--out output/memory] [KEY=VALUE ...]

The demo's network, its training loop, loader and Detector, on pictures of all sizes and shapes with 0 to 24 things, so
that nearly every batch has a shape of its own and MXNet binds the network anew. Training and detection have a process
each. Writes memory.json and memory.png. The exit status is 1 if one of them grew by more than --bound megabytes from
the end of its warm-up, the first quarter, to its end.
"""
import concurrent.futures
import json
import multiprocessing
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.demo.make_dataset import annotation
from experiments.demo.scene import draw_scene
from rfcn import build, training
from rfcn.checkpoints.checkpoint import params_path
from rfcn.cli.run import log_to
from rfcn.cli.script import make_parser, run_script
from rfcn.collect_env import git_revision, proc_field
from rfcn.config.config import load_config, with_overrides
from rfcn.core.module import contexts
from rfcn.detector import Detector
from rfcn.result import machine
from rfcn.symbols import make_symbol

DEMO = Path(__file__).resolve().parent / 'demo' / 'demo.yaml'
SCALES = [[96, 192], [128, 256], [160, 320]]
GRID = 2, 2                 # at most so many of the demo's scenes below and beside each other
PICTURES = 120              # other ones for training and for detection
WARM_UP, LAST = 0.25, 0.1   # parts of the samples
PARTS = ('training', 'detection')


def draw_picture(rng):
    """A cut-out of one to four scenes: (H, W, 3) uint8 and the things of which at least a quarter is left."""
    tiles = [[draw_scene(rng) for _ in range(rng.randint(1, GRID[1] + 1))]]
    tiles += [[draw_scene(rng) for _ in tiles[0]] for _ in range(rng.randint(GRID[0]))]
    image = np.vstack([np.hstack([tile for tile, _ in row]) for row in tiles])
    size = len(tiles[0][0][0])
    height, width = [rng.randint(size // 2, side + 1) for side in image.shape[:2]]
    things = [moved(thing, x * size, y * size, width, height)
              for y, row in enumerate(tiles) for x, (_, of_tile) in enumerate(row) for thing in of_tile]
    return image[:height, :width], [thing for thing in things if thing]


def moved(thing, x, y, width, height):
    """A thing shifted by (x, y) and clipped to a picture of width x height; None if too little of it is left."""
    x1, y1, x2, y2 = np.add(thing.box, (x, y, x, y))
    left = max(0, min(x2, width - 1) - x1) * max(0, min(y2, height - 1) - y1)
    if 4 * left < (x2 - x1) * (y2 - y1):
        return None
    return thing._replace(box=(int(x1), int(y1), int(min(x2, width - 1)), int(min(y2, height - 1))))


def write_pictures(folder, image_set, rng):
    """Draw the pictures of a set in the layout of VOC."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = ['%s_%03d' % (image_set, number) for number in range(PICTURES)]
    for name in names:
        image, things = draw_picture(rng)
        cv2.imwrite(str(folder / 'JPEGImages' / (name + '.jpg')), image)
        (folder / 'Annotations' / (name + '.xml')).write_text(annotation(name, image, things))
    (folder / 'ImageSets' / 'Main' / (image_set + '.txt')).write_text('\n'.join(names) + '\n')


class Samples:
    """Megabytes of the process, noted about 500 times in `total` steps."""

    def __init__(self, total):
        self.every = max(1, total // 500)
        self.count = 0
        self.steps, self.megabytes = [], []

    def note(self):
        """Call before each step."""
        if self.count % self.every == 0:
            self.steps.append(self.count)
            self.megabytes.append(int(proc_field('/proc/self/status', 'VmRSS').split()[0]) / 1024)
        self.count += 1


class NotingLoader:
    """A loader that notes the memory whenever a batch is taken."""

    def __init__(self, loader, samples):
        self.loader = loader
        self.samples = samples

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def batches(self, *args):
        """As `Loader.batches`."""
        for batch in self.loader.batches(*args):
            self.samples.note()
            yield batch


def configuration(out, steps, overrides):
    """The demo's, on the pictures in `out`: as many epochs as `steps` take."""
    cfg = load_config(DEMO, overrides)
    epochs = max(1, round(steps * cfg.TRAIN.BATCH_IMAGES / (2 * PICTURES)))
    return build.with_classes(with_overrides(cfg, {
        'SCALES': SCALES, 'dataset.dataset_path': str(out / 'data'), 'dataset.val_image_set': '',
        'TRAIN.end_epoch': epochs, 'TRAIN.lr_step': [], 'TRAIN.CHECKPOINT_PERIOD': epochs,
        'TRAIN.OVERWRITE': True}))


def train(cfg, prefix):
    """Train as rfcn/train_end2end.py does. Returns Samples."""
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    loader = build.anchor_loader(cfg, build.training_roidb(cfg), symbol)
    samples = Samples(len(loader) * cfg.TRAIN.end_epoch)
    training.train(cfg, symbol, NotingLoader(loader, samples), prefix, contexts(cfg.gpus),
                   kind=training.END2END, extra_params=build.unnormalised(cfg))
    return samples


def detect(cfg, prefix, count):
    """Detect in the pictures again and again, one a request, at changing scales. Returns Samples."""
    paths = [entry['image'] for entry in build.datasets(cfg, 'test')[0].gt_roidb()]
    detector = Detector(cfg, params_path(prefix, cfg.TRAIN.end_epoch))
    samples, rng = Samples(count), np.random.RandomState(0)
    for _ in range(count):
        samples.note()
        image = cv2.imread(paths[rng.randint(len(paths))])
        detector.detect(cv2.resize(image, None, fx=rng.uniform(0.7, 1.4), fy=rng.uniform(0.7, 1.4)))
    return samples


def in_process(function, *args):
    """Call a function in a new process."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as executor:
        return executor.submit(function, *args).result()


def summary(samples):
    """Megabytes of Samples: the first, at the end of the warm-up, at the end, the most; and growth, with its slope."""
    steps, megabytes = np.array(samples.steps), np.array(samples.megabytes)
    begin, last = int(WARM_UP * len(steps)), max(1, int(LAST * len(steps)))
    warm, end = [float(np.median(part)) for part in (megabytes[begin:begin + last], megabytes[-last:])]
    slope = np.polyfit(steps[begin:], megabytes[begin:], 1)[0] if len(steps) - begin > 1 else 0.0
    return {'steps': samples.count, 'first': megabytes[0], 'warm': warm, 'last': end, 'peak': float(megabytes.max()),
            'growth': end - warm, 'per 1000 steps': 1000 * float(slope)}


def plot(results, path):
    """A panel for each part."""
    figure = Figure(figsize=(9, 3), tight_layout=True)
    FigureCanvasAgg(figure)
    for axes, part in zip(figure.subplots(1, len(PARTS)), PARTS):
        samples, facts = results[part]['samples'], results[part]['summary']
        axes.plot(samples['steps'], samples['megabytes'], linewidth=1)
        axes.axvspan(0, WARM_UP * facts['steps'], color='0.93')
        axes.set(title='%s: %+.1f MB per 1000 after the warm-up' % (part, facts['per 1000 steps']), ylim=(0, None),
                 xlim=(0, facts['steps']), xlabel={'training': 'steps', 'detection': 'images'}[part], ylabel='MB')
        axes.title.set_fontsize(10)
        axes.grid(alpha=0.3)
    figure.savefig(str(path), dpi=90)


def measure(out, steps, detections, overrides):
    """Draw the pictures, train, detect. Returns a dict: part -> samples and summary."""
    for number, image_set in enumerate(('train', 'test')):
        write_pictures(out / 'data', image_set, np.random.RandomState(number))
    cfg = configuration(out, steps, overrides)
    prefix = str(out / 'memory')
    found = {'training': in_process(train, cfg, prefix), 'detection': in_process(detect, cfg, prefix, detections)}
    return {part: {'summary': summary(samples),
                   'samples': {'steps': samples.steps, 'megabytes': [round(value, 1) for value in samples.megabytes]}}
            for part, samples in found.items()}


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__.partition('\n')[0])
    parser.add_argument('--steps', type=int, default=2000, help='of training, rounded to whole epochs')
    parser.add_argument('--detections', type=int, default=10000)
    parser.add_argument('--bound', type=float, default=50, help='megabytes of growth that are still flat (default 50)')
    parser.add_argument('--out', type=Path, default=Path(__file__).resolve().parents[1] / 'output' / 'memory')
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE')
    args = parser.parse_intermixed_args(argv)
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    log_to(out / 'log.txt')
    results = measure(out, args.steps, args.detections, args.overrides)
    note = dict(results, commit=git_revision(), machine=machine(''), bound=args.bound)
    (out / 'memory.json').write_text(json.dumps(note) + '\n')
    plot(results, out / 'memory.png')
    for part in PARTS:
        print(part + ': ' + ', '.join('%s %.1f' % item for item in results[part]['summary'].items()))
    return int(any(results[part]['summary']['growth'] > args.bound for part in PARTS))


if __name__ == '__main__':
    run_script(main)
