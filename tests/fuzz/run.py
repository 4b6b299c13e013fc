"""Read many damaged files: `python tests/fuzz/run.py [COUNT] [--seed N] [--kind KIND]`.

Each file is made from a good one by random changes, and read in another process. It must give a result or one of our
errors; never another exception, never a crash, never more than a second of the processor or 500 MB. What breaks the
rule is kept in a folder.
"""
import argparse
import collections
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a file: the project's folder

import numpy as np

import rfcn  # noqa: F401  before anything imports MXNet: the names that it needs of NumPy
from lib.utils.memory import peak, resident
from tests.fuzz.mutate import mutate

MAX_SECONDS = 1.0           # of the processor
MAX_MEGABYTES = 500         # above what the process had before
HANG_SECONDS = 60           # of the clock, for one file: the machine may be busy
BATCH = 1000                # files of a process

Finding = collections.namedtuple('Finding', 'kind number problem data')


def make(seeds, kind, seed, number):
    """Damaged file `number` of a kind: (seed, kind, number) decide it."""
    rng = np.random.RandomState([seed, sorted(seeds).index(kind), number])
    files = seeds[kind]
    return mutate(files[rng.randint(len(files))], files[rng.randint(len(files))], rng)


def forget_peak():
    """Let the process's peak of memory begin anew."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
    except OSError:
        pass


def work(connection, jobs, seed):
    """In a process of its own: read files and send back what happened, after having said which comes next."""
    from tests.fuzz.seeds import all_seeds
    from tests.fuzz.targets import Targets
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)        # what the libraries of image formats print about damaged ones
    seeds = all_seeds()
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(folder, seeds)
        for kind in sorted(seeds):
            targets.run(kind, seeds[kind][0])       # what is loaded at the first call does not count
        for kind, number in jobs:
            connection.send(('begin', kind, number))
            connection.send(('end',) + _read(targets, kind, make(seeds, kind, seed, number)))
    connection.send(('done',))


def _read(targets, kind, data):
    """The outcome, and a problem or ''."""
    forget_peak()
    before, started = resident(), time.process_time()
    try:
        outcome, problems = targets.run(kind, data), []
    except BaseException:  # the finding, whatever it is
        outcome, problems = 'problem', [traceback.format_exc()]
    seconds, grown = time.process_time() - started, peak() - before
    return outcome, '; '.join(problems + excesses(seconds, grown))


def excesses(seconds, grown):
    """What a file took more of than it may: seconds of the processor, megabytes."""
    return (['took %.1f seconds' % seconds] if seconds > MAX_SECONDS else []) \
        + (['took %d MB' % grown] if grown > MAX_MEGABYTES else [])


def run(jobs, seed):
    """Read the files of a list of (kind, number). Returns a Counter of (kind, outcome) and a list of Finding."""
    from tests.fuzz.seeds import all_seeds
    counts, findings, seeds = collections.Counter(), [], all_seeds()
    while jobs:
        jobs, (counted, found) = _run_batch(jobs, seed)
        counts += counted
        findings += [Finding(kind, number, problem, make(seeds, kind, seed, number)) for kind, number, problem in found]
    return counts, findings


def _run_batch(jobs, seed):
    """One process until it ends; returns the jobs that are left, and counts and problems."""
    context = multiprocessing.get_context('spawn')      # MXNet's threads do not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, jobs[:BATCH], seed), daemon=True)
    process.start()
    theirs.close()
    counts, found, done, current = collections.Counter(), [], 0, None
    while True:
        message = _receive(ours, HANG_SECONDS if current else 300)
        if message is None:     # it crashed or hangs
            process.kill()
            process.join()
            if current is None:
                raise RuntimeError('the fuzzer itself failed, exit status %s' % process.exitcode)
            return jobs[done + 1:], (counts, found + [current
                                                      + ('crashed or hung, exit status %s' % process.exitcode,)])
        if message[0] == 'done':
            process.join()
            return jobs[BATCH:], (counts, found)
        if message[0] == 'begin':
            current = message[1:]
            continue
        counts[current[0], message[1]] += 1
        found += [current + (message[2],)] if message[2] else []
        done, current = done + 1, None


def _receive(connection, seconds):
    try:
        return connection.recv() if connection.poll(seconds) else None
    except EOFError:
        return None


def main(argv=None):
    """Entry point. Returns the exit status: 1 if there was a finding."""
    from tests.fuzz.seeds import all_seeds
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('count', type=int, nargs='?', default=20000, help='files to read (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kind', choices=sorted(all_seeds()), help='of files (default: all)')
    parser.add_argument('--keep', default='output/fuzz',
                        help='folder for the files that are findings (default %(default)s)')
    args = parser.parse_args(argv)
    kinds = [args.kind] if args.kind else sorted(all_seeds())
    started = time.time()
    counts, findings = run([(kinds[i % len(kinds)], i // len(kinds)) for i in range(args.count)], args.seed)
    for (kind, outcome), count in sorted(counts.items()):
        print('%-12s %-20s %6d' % (kind, outcome, count))
    for finding in findings:
        os.makedirs(args.keep, exist_ok=True)
        path = os.path.join(args.keep, '%s-%d-%d' % (finding.kind, args.seed, finding.number))
        Path(path).write_bytes(finding.data)
        print('\n%s: %s' % (path, finding.problem))
    print(json.dumps({'files': sum(counts.values()), 'findings': len(findings),
                      'seconds': round(time.time() - started)}))
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
