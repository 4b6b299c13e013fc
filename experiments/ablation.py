"""The paper's main claims, small enough for a CPU: variants of one network, several seeds, mean and spread.

    python experiments/ablation.py [--data demo] [--epochs 2] [--seeds 3] [--images 800]      # rendered things
    python experiments/ablation.py --data voc2012_animals [--data_path DIR] [--weights FILE]          # photographs
        [--seeds 2] [--only TEXT]... [--jobs 2] [--time 50] [--out FOLDER] [KEY=VALUE ...]

experiments/studies.py says what is varied, and makes table and picture. Every variant changes one thing of its study's
base and has the same data, epochs and learning rate; a seed decides the first weights and the order of the images. A
variant of TEST.* keys alone tests the base's network. Each run has a process of its own, so that its memory can be
told; --jobs N has N of them at once, which share the cores: on small images more than one network with all threads.
--time N then measures the test time of all variants on N images in turn. Writes results.json, ablation.md and
ablation.png; what is in results.json is not trained again, and results of other settings or commits are not replaced.
"""
import concurrent.futures
import itertools
import json
import logging
import multiprocessing
import os
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import numpy as np

from experiments.bench.measure import in_turn
from experiments.demo.make_dataset import make_dataset
from experiments.memory import end_with_parent
from experiments.plot_curves import read_records
from experiments.studies import METRICS, STUDIES, as_markdown, find, plot
from lib.errors import UserError
from lib.utils.folders import make_folder
from lib.utils.memory import peak
from lib.utils.whole_file import save_text
from rfcn import Detector, data_sets, test
from rfcn.checkpoints.checkpoint import params_path
from rfcn.cli.run import log_to
from rfcn.cli.script import make_parser, run_script, whole_number_from
from rfcn.collect_env import git_revision, machine
from rfcn.config.config import load_config, with_overrides
from rfcn.launching.agent import THREADS
from rfcn.precision.cpu import cores
from rfcn.train_end2end import train_net

logger = logging.getLogger('rfcn')

ROOT = Path(__file__).resolve().parents[1]
IMAGES, TEST_IMAGES = 800, 200    # of the demo


def variant_config(study, variant, seed, epochs, overrides=()):
    """The base's configuration with the changes of a variant; the rate drops for the last quarter.

    Without OHEM as many RoIs per image train as OHEM keeps, drawn at random, a quarter of them objects at most.
    """
    cfg = load_config(study.cfg, overrides)
    variant_changes = dict(study.variants[variant])
    if variant_changes.get('TRAIN.ENABLE_OHEM') is False:
        variant_changes['TRAIN.BATCH_ROIS'] = cfg.TRAIN.BATCH_ROIS_OHEM * cfg.TRAIN.BATCH_IMAGES
    changes = {'seed': seed, 'TRAIN.end_epoch': epochs, 'TRAIN.lr_step': [0.75 * epochs], 'TRAIN.EVAL_PERIOD': 0,
               'TRAIN.CHECKPOINT_PERIOD': epochs, 'TRAIN.OVERWRITE': True, 'dataset.val_image_set': ''}
    return with_overrides(data_sets.with_classes(with_overrides(cfg, changes)), variant_changes)


def trained_as(study, variant):
    """The variant whose network a variant tests: its own, or the base's where only the test differs."""
    return study.base if all(key.startswith('TEST.') for key in study.variants[variant]) else variant


def run(cfg, folder, params):
    """Train, unless there are parameters to test, and test; to be called in a process of its own.

    Returns:
        dict: the metrics; params, the checkpoint's path; peak_mb of the process; train_s, seconds per step, if it
        trained.
    """
    make_folder(folder)
    log_to(folder / 'log.txt')
    costs = {}
    if params is None:
        prefix = train_net(cfg, folder)
        params = params_path(prefix, cfg.TRAIN.end_epoch)
        speeds = [record['images_per_s'] for record in read_records(prefix + '-log.jsonl') if record['type'] == 'train']
        costs['train_s'] = cfg.TRAIN.BATCH_IMAGES / float(np.median(speeds))
    evaluation = test.test_rcnn(cfg, folder, params, ignore_cache=True)
    costs['peak_mb'] = peak()
    return dict({name: evaluation.metrics[name] for name in METRICS}, params=str(params), **costs)


def run_apart(*args):
    """`run` in a process of its own, which ends with this one, however this one ends."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), end_with_parent) as pool:
        return pool.submit(run, *args).result()


def chosen(study, texts):
    """Numbers and names of the variants whose name contains one of the texts, and of the base; all without texts."""
    others = list(study.variants)[1:]
    found = {study.base} if texts else set(study.variants)
    for text in texts:
        fitting = [name for name in others if text in name]
        if not fitting:
            raise UserError('no variant has %r in its name; there are: %s' % (text, '; '.join(others)))
        found.update(fitting)
    return [(number, name) for number, name in enumerate(study.variants) if name in found]


def run_all(study, args, note):
    """The chosen variants with every seed; results.json grows with each run.

    Raises:
        UserError: it has results of another note, of other settings or another commit; they may have taken days.
    """
    variants = chosen(study, args.only)
    path = args.out / 'results.json'
    kept = json.loads(path.read_text()) if path.is_file() else dict(note=note, results=[])
    others = ['%s %s' % item for item in kept['note'].items() if item not in note.items()]
    if kept['note'] != note:
        raise UserError('%s: it has results of another kind%s: give another folder with --out, or move that file away'
                        % (path, ' (%s)' % ', '.join(others) if others else ''))
    results = kept['results']
    missing = [(seed, number, variant) for seed in range(args.seeds) for number, variant in variants
               if find(results, variant, seed) is None]
    for trains in (True, False):            # first the networks, then the variants that only test the base's
        for found in run_at_once(study, args, results, [each for each in missing if
                                                        (trained_as(study, each[2]) == each[2]) == trains]):
            results.append(found)
            save_text(path, json.dumps(dict(note=note, results=results), indent=1))
            logger.info('%s, seed %d: %s', found['variant'], found['seed'], found)
    return [result for result in results if result['seed'] < args.seeds]


def run_at_once(study, args, results, runs):
    """`run_apart` of each (seed, number, variant), args.jobs of them at once; yields the results as they come."""
    def one(seed, number, variant):
        of_base = find(results, trained_as(study, variant), seed)     # None where the variant trains itself
        cfg = variant_config(study, variant, seed, args.epochs, args.overrides)
        found = run_apart(cfg, args.out / ('%d_seed%d' % (number, seed)), of_base and of_base['params'])
        return dict(found, variant=variant, seed=seed)
    waiting, failures = iter(runs), []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        running = {pool.submit(one, *each) for each in itertools.islice(waiting, args.jobs)}
        while running:
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                if future.exception():
                    failures.append(future.exception())
                else:
                    yield future.result()
            if not failures:                # after a failure those at work end, and nothing more is begun
                running |= {pool.submit(one, *each) for each in itertools.islice(waiting, len(done))}
    if failures:
        raise failures[0]


def share_cores(jobs):
    """Give each of the runs at once its share of the cores, unless the user has said how many threads."""
    if 'OMP_NUM_THREADS' not in os.environ:
        os.environ.update(dict.fromkeys(THREADS, str(max(1, (cores() or 1) // jobs))))


def measure_testing(study, args, results):
    """Add test_s, the median seconds from an image's file to boxes, to the results of the first seed: all in turn."""
    first = [result for result in results if result['seed'] == 0]
    detectors = {result['variant']: Detector(variant_config(study, result['variant'], 0, args.epochs, args.overrides),
                                             result['params']) for result in first}
    imdb, = data_sets.datasets(next(iter(detectors.values())).cfg, load_config(study.cfg).dataset.test_image_set)
    paths = [imdb.image_path(index) for index in imdb.image_set_index]
    following = {name: itertools.cycle(paths) for name in detectors}
    seconds = in_turn({name: lambda name=name: detectors[name].detect(next(following[name])) and None
                       for name in detectors}, args.time, warm_up=5)
    for result in first:
        result['test_s'] = seconds[result['variant']]['total']


def check_options(args):
    """Raise a UserError for an option of the other kind of data, which would do nothing."""
    others = ('data_path', 'weights') if args.data == 'demo' else ('images', 'test_images')
    given = [name for name in others if getattr(args, name)]
    if given:
        raise UserError('--%s is not for --data %s: leave it out' % (given[0], args.data))


def prepare_data(args):
    """The data of the study, rendered or given: adds where it lies to the overrides. Returns what the note says."""
    if args.data == 'demo':
        images, test_images = args.images or IMAGES, args.test_images or TEST_IMAGES
        make_dataset(args.out / 'data', train=images, val=1, test=test_images)
        args.overrides.insert(0, 'dataset.dataset_path=%s' % (args.out / 'data'))
        return {'training images': images, 'test images': test_images}
    path = args.data_path or first_of(ROOT / 'data' / args.data, ROOT.parent / 'shared' / 'data' / args.data)
    weights = args.weights or first_of(*(folder / 'resnet_v1_50-0000.params' for folder in (
        ROOT / 'model' / 'pretrained_model', ROOT.parent / 'shared' / 'weights')))
    for found, option in ((path, '--data_path'), (weights, '--weights')):
        if not Path(found).exists():
            raise UserError('%s: there is nothing; name the place with %s' % (found, option))
    prefix = str(weights)[:-len('-0000.params')]
    args.overrides[:0] = ['dataset.dataset_path=%s' % path, 'network.pretrained=%s' % prefix]
    return {'data': args.data}


def first_of(*paths):
    """The first path that is there, else the first."""
    return next((path for path in paths if path.exists()), paths[0])


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('--data', choices=list(STUDIES), default='demo')
    parser.add_argument('--data_path', type=Path, help='of photographs: their folder')
    parser.add_argument('--weights', type=Path, help='of photographs: ResNet-50, a file PREFIX-0000.params')
    parser.add_argument('--epochs', type=whole_number_from(1), default=2, help='of the images and their mirror images')
    parser.add_argument('--seeds', type=whole_number_from(1), default=3)
    parser.add_argument('--images', type=whole_number_from(1),
                        help='of the demo: how many images to draw to train on (default %d)' % IMAGES)
    parser.add_argument('--test_images', type=whole_number_from(1),
                        help='of the demo: how many to draw to test on (default %d)' % TEST_IMAGES)
    parser.add_argument('--only', metavar='TEXT', action='append', default=[],
                        help='variants with this in their names, and the base; may be given several times')
    parser.add_argument('--jobs', type=whole_number_from(1), default=1, metavar='N', help='N runs at once')
    parser.add_argument('--time', type=whole_number_from(0), default=0, metavar='N',
                        help='then measure the test time on N images')
    parser.add_argument('--out', type=Path, help='by default output/ablation/DATA')
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE', help='for all variants')
    args = parser.parse_intermixed_args(argv)
    check_options(args)
    study = STUDIES[args.data]
    load_config(study.cfg, args.overrides)      # a mistake in them ends the run before its data are drawn
    args.out = (args.out or ROOT / 'output' / 'ablation' / args.data).absolute()
    make_folder(args.out)
    log_to(args.out / 'log.txt')
    note = {'epochs': args.epochs, 'overrides': ' '.join(args.overrides) or 'none', **prepare_data(args),
            'commit': git_revision(), 'machine': machine('')}
    if args.jobs > 1:
        note['runs at once'] = args.jobs
        share_cores(args.jobs)
    results = run_all(study, args, note)
    if args.time:
        measure_testing(study, args, results)
    text = as_markdown(study, results, note)
    save_text(args.out / 'ablation.md', text)
    plot(study, results, args.out / 'ablation.png')
    print(text)


if __name__ == '__main__':
    run_script(main)
