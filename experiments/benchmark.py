"""Measure this machine: `rfcn benchmark [SECTION] [--short] [--out FOLDER]`.

SECTION: infer, train, kernels, scaling, or `all` of these, the default; by name alone: workers, data, peers, baselines.

Prints tables; writes benchmark.json and, of `infer`, benchmark.png. All networks have random weights: nothing is
fetched.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of experiments, rfcn and lib

import argparse
import json
import time

from experiments.bench import baselines, data, inference, kernels, machine, peers, report, training, workers
from lib.utils.folders import check_folder, make_folder
from lib.utils.whole_file import save_text
from rfcn.cli.script import make_parser, run_script

SECTIONS = {'infer': inference.run, 'train': training.run, 'kernels': kernels.run, 'scaling': inference.run_scaling,
            'workers': workers.run, 'data': data.run, 'peers': peers.run, 'baselines': baselines.run}
# What a measurement runs in a process of its own: for its peak of memory, or beside others.
JOBS = {'train_memory': training.peak_memory, 'detection_memory': inference.peak_memory, 'worker': inference.work,
        'read_data': data.read_data, 'peers': peers.work}
BY_NAME = ('workers', 'data', 'peers', 'baselines')     # take long, or need other packages: not among 'all'


def benchmark(names, short, folder):
    """Run sections by name, print each one's table, write the results after each. Returns them as a dict."""
    results = dict(command=' '.join(sys.argv), date=time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
                   machine=machine.describe())
    report.print_facts(results['machine'])
    results['limits, GFLOP/s'] = machine.limits()
    report.print_facts(results['limits, GFLOP/s'])
    make_folder(folder)
    for name in names:
        started = time.time()
        results[name] = SECTIONS[name](short)
        report.print_table('%s (measured in %.0f s)' % (name, time.time() - started), results[name])
        save_text(folder / 'benchmark.json', json.dumps(results, indent=1))
    if 'infer' in results:
        report.draw(results['infer'], folder / 'benchmark.png')
    print('\nwrote %s' % (folder / 'benchmark.json'))
    return results


def run_job(job, **settings):
    """The result of a job, something that JSON can hold."""
    return JOBS[job](**settings)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__.partition('\n')[0])
    parser.add_argument('section', nargs='?', default='all', choices=list(SECTIONS) + ['all'],
                        help='what is measured; all, the default, is all but %s' % ', '.join(BY_NAME))
    parser.add_argument('--short', action='store_true',
                        help='fewer repetitions and networks: all within 5 minutes')
    parser.add_argument('--out', metavar='FOLDER', type=Path, default=Path('output/benchmark'),
                        help='default: output/benchmark')
    parser.add_argument('--job', help=argparse.SUPPRESS)  # what a process of our own shall do, as JSON
    args = parser.parse_args(argv)
    if args.job:
        print(json.dumps(run_job(**json.loads(args.job))))
    else:
        check_folder(args.out)      # before the work
        every = [name for name in SECTIONS if name not in BY_NAME]
        benchmark(every if args.section == 'all' else [args.section], args.short, args.out)


if __name__ == '__main__':
    run_script(main)
