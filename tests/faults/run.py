"""Kills the commands that write (cases.py), and fails their calls, at many of their changes to files: `make faults`.

    python tests/faults/run.py [--points 12] [--only train,quantize] [--jobs 2] [--out faults.json]

Each command of cases.py is run undisturbed first, with its changes counted by inject.c. Then for an even sample of
these changes it is killed there (SIGKILL), has that call fail (EIO), or finds the disk full from there on (ENOSPC).
What a user would run next is run then, and judged:

- nothing prints a traceback or ends without a sentence;
- what reads the output refuses it, or finds what it finds undisturbed, or in the output that was there before;
- the command run again gives the same files as undisturbed, to the byte where that can be expected, and nothing of the
  disturbed run is left over; or it refuses with a sentence.

The exit status is 1 if there is a finding. A point where the fault did not happen proves nothing and is counted apart.
"""
import argparse
import collections
import concurrent.futures
import errno
import fnmatch
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.faults.cases import CASES, ROOT, fetching

KINDS = collections.OrderedDict([('kill', 0), ('EIO', errno.EIO), ('ENOSPC', errno.ENOSPC)])
SECONDS = 300           # a command that takes longer hangs
_LOG_LINE = re.compile(r'\d{4}-\d\d-\d\d ')
NOT_INSTALLED = re.compile(r'pip install')   # what a command that needs another package says
NOT_FILES = ('.lock',)  # stays by design: who holds it is what counts


class Ended(NamedTuple):
    """How a command ended."""
    status: int
    out: str
    err: str


class UndisturbedFailure(Exception):
    """A case that proves nothing here; the text is the command's last line."""


class Finding(NamedTuple):
    """A point at which something went wrong."""
    case: str
    kind: str
    point: int
    problem: str


def build_injector(folder):
    """Compile inject.c. Returns the path of the library."""
    library = Path(folder) / 'inject.so'
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-O1', '-o', str(library),
                    str(Path(__file__).with_name('inject.c')), '-ldl'], check=True)
    return library


def without_coverage():
    """The environment, but for what has a process count the lines that it runs: a killed one leaves half a count."""
    return {name: value for name, value in os.environ.items() if not name.startswith(('COV_', 'COVERAGE_'))}


def run(command, folder, **variables):
    """Run a command in a folder."""
    environment = dict(without_coverage(), PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', **variables)
    try:
        ended = subprocess.run(command, cwd=str(folder), env=environment, capture_output=True,
                               stdin=subprocess.DEVNULL, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Ended(-1, '', 'took longer than %d seconds' % SECONDS)
    return Ended(ended.returncode, *(text.decode('utf-8', 'replace') for text in (ended.stdout, ended.stderr)))


def files_of(folder, exact):
    """Path -> MD5 sum of each file below a folder that is to be equal to the byte, '' of the others."""
    found = {}
    for path in sorted(Path(folder).rglob('*')):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name not in NOT_FILES:
            compared = any(fnmatch.fnmatch(name, pattern) for pattern in exact)
            found[name] = hashlib.md5(path.read_bytes()).hexdigest() if compared else ''
    return found


def difference(found, expected):
    """What is different, in words; '' if nothing is."""
    parts = [('left over', sorted(set(found) - set(expected))), ('absent', sorted(set(expected) - set(found))),
             ('another content', sorted(name for name in set(found) & set(expected) if found[name] != expected[name]))]
    return '; '.join('%s: %s' % (what, ', '.join(names[:6])) for what, names in parts if names)


class Trial:
    """One case in a folder of its own, of the same name at each point: paths are written into files."""

    def __init__(self, name, case, folder, library):
        self.name, self.case, self.folder, self.library = name, case, Path(folder), library
        self.inputs, self.work, self.counter = (self.folder / part for part in ('inputs', 'work', 'counter'))
        self.work.mkdir(parents=True)
        case.prepare(self.work)         # here, so that the paths that it writes into files are those of the runs
        self.work.rename(self.inputs)

    def fresh(self):
        """The inputs alone, in the folder that is worked in."""
        shutil.rmtree(str(self.work), ignore_errors=True)
        shutil.copytree(str(self.inputs), str(self.work), symlinks=True)

    def disturbed(self, point, code):
        """Run the command; returns how it ended, its changes to files, and how many faults happened."""
        self.counter.write_bytes(struct.pack('qq', 0, 0))
        ended = run(self.case.command, self.work, LD_PRELOAD=str(self.library), FAULT_FOLDER=str(self.work),
                    FAULT_COUNTER=str(self.counter), FAULT_AT=str(point), FAULT_ERRNO=str(code))
        return (ended,) + struct.unpack('qq', self.counter.read_bytes())

    def undisturbed(self):
        """Note what an undisturbed run gives. Returns its number of changes."""
        self.fresh()
        self.good = self._reading()     # of an earlier output; none where there is none
        self.fresh()
        ended, changes, _ = self.disturbed(0, 0)
        if ended.status:
            raise UndisturbedFailure(last_line(ended.err))
        self.first = files_of(self.work, self.case.exact)
        self.good += self._reading()
        run(self.case.then or self.case.command, self.work)
        self.expected = files_of(self.work, self.case.exact)
        return changes

    def _reading(self):
        """A list of what the reader finds, without the lines of its log; empty if it refuses, or there is none."""
        read = run(self.case.reader, self.work) if self.case.reader else None
        return [result_in(read.out)] if read and read.status == 0 else []

    def at(self, kind, point):
        """Disturb the command at one point. Returns what happened, in a word, and a list of problems."""
        self.fresh()
        ended, _, faults = self.disturbed(point, KINDS[kind])
        if not faults:
            return 'not reached', []
        problems = [] if kind == 'kill' else bad_end('the disturbed command', ended)
        if ended.status == 0:
            problems += self._differs('the disturbed command said nothing', self.first)
        if self.case.reader:
            read = run(self.case.reader, self.work)
            problems += bad_end('the reader', read)
            if read.status == 0 and self.good and result_in(read.out) not in self.good:
                problems.append('the reader took what is not the undisturbed result: %s' % read.out[-300:])
        again = run(self.case.then or self.case.command, self.work)
        problems += bad_end('the next command', again)
        if 0 in (again.status, ended.status) or self._is_whole():   # the next may say that nothing is left to do
            return 'the same', problems + self._differs('after the next command', self.expected)
        return 'refused: ' + last_line(again.err or again.out), problems

    def _is_whole(self):
        return not difference(files_of(self.work, self.case.exact), self.expected)

    def _differs(self, when, expected):
        text = difference(files_of(self.work, self.case.exact), expected)
        return ['%s: %s' % (when, text)] if text else []


def last_line(text):
    """Of what a command printed, without its own beginning."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ''


def result_in(text):
    """What a command printed, without the lines of its log."""
    return [line for line in text.splitlines() if not _LOG_LINE.match(line)]


def bad_end(who, ended):
    """Problems with how a command ended: killed by itself, a traceback, no word."""
    if 'Traceback (most recent call last)' in ended.err + ended.out:
        return ['%s printed a traceback: ...%s' % (who, last_line(ended.err))]
    if ended.status < 0:
        return ['%s ended with status %d: %s' % (who, ended.status, last_line(ended.err))]
    return ['%s failed without a word' % who] if ended.status and not last_line(ended.err + ended.out) else []


def even_sample(count, wanted):
    """`wanted` of the numbers from 1 to `count`, evenly spread; all if there are fewer."""
    if count <= wanted:
        return list(range(1, count + 1))
    return sorted({1 + round(number * (count - 1) / (wanted - 1)) for number in range(wanted)} if wanted > 1 else {1})


def run_case(name, case, points, folder, library):
    """All points of a case. Returns a dict of counts and a list of findings."""
    started = time.time()
    trial = Trial(name, case, folder, library)
    counts, findings, refusals = collections.Counter(), [], collections.Counter()
    try:
        changes = trial.undisturbed()
    except UndisturbedFailure as failure:
        found = [] if NOT_INSTALLED.search(str(failure)) else [Finding(name, 'none', 0, str(failure))]
        print('%-20s not run, it fails undisturbed: %s' % (name, failure), flush=True)
        return {'not run': 1}, found
    for number, point in enumerate(even_sample(changes, points)):
        kind = list(KINDS)[number % 2 and 1 + number // 2 % 2]     # every other one is a kill
        outcome, problems = trial.at(kind, point)
        if outcome == 'not reached':
            counts['not reached'] += 1
            continue
        counts[kind] += 1
        counts[outcome.partition(':')[0]] += 1
        if outcome.startswith('refused'):
            refusals[re.sub(r'\d+', 'N', outcome[len('refused: '):])] += 1
        findings += [Finding(name, kind, point, problem) for problem in problems]
    shutil.rmtree(str(folder), ignore_errors=True)
    print('%-20s %4d changes, %s, %d findings, %.0f s' % (
        name, changes, ', '.join('%d %s' % (count, what) for what, count in sorted(counts.items())), len(findings),
        time.time() - started), flush=True)
    for finding in findings:
        print('    %s at change %d: %s' % (finding.kind, finding.point, finding.problem), flush=True)
    return dict(counts, changes=changes, refusals=dict(refusals)), findings


def run_cases(cases, points, jobs=1):
    """Run cases by name. Returns name -> counts, and the findings of all."""
    results, findings = {}, []
    with tempfile.TemporaryDirectory(prefix='faults-') as folder, \
            concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        library = build_injector(folder)
        waiting = {name: pool.submit(run_case, name, case, points, Path(folder) / re.sub(r'\W+', '_', name), library)
                   for name, case in cases.items()}
        for name, future in waiting.items():
            results[name], found = future.result()
            findings += found
    return results, findings


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, default=12, help='changes of each command that are disturbed')
    parser.add_argument('--only', help='names of cases, separated by commas')
    parser.add_argument('--jobs', type=int, default=1, help='cases at a time')
    parser.add_argument('--out', help='write the counts and findings to this JSON file')
    args = parser.parse_args(argv)
    started = time.time()
    with tempfile.TemporaryDirectory(prefix='faults-server-') as served:
        cases = dict(CASES, fetch=fetching(Path(served)))
        wanted = args.only.split(',') if args.only else list(cases)
        unknown = sorted(set(wanted) - set(cases))
        if unknown:
            parser.error('no case %s; there are %s' % (', '.join(unknown), ', '.join(cases)))
        results, findings = run_cases({name: cases[name] for name in wanted}, args.points, args.jobs)
    total = collections.Counter()
    for counts in results.values():
        total.update({key: value for key, value in counts.items() if key != 'refusals'})
    summary = dict(total, findings=len(findings), seconds=round(time.time() - started))
    print(json.dumps(summary))
    if args.out:
        Path(args.out).write_text(json.dumps(dict(summary=summary, cases=results, findings=findings), indent=1) + '\n')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
