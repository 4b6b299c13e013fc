"""The published results, and what was measured here: `rfcn reproduce` lists all rows.

    --markdown                  the same as a table
    --run ROW [KEY=VALUE ...]   run a row from nothing to its number: data, weights, training, test
    --smoke [ROW]               prove that a row, or every row, runs: its YAML and full-size network, a few training
                                steps and a test on rendered pictures; print what it costs
"""
import sys
import tempfile
import time
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

from experiments.rows import show
from experiments.rows.table import ROWS, find_row
from rfcn.cli.script import make_parser, run_script

FOOT = '''%d of %d rows run, %.0f s. Steps, seconds and peak of the process: with pictures of 160 pixels. Parameters,
GFLOP of an image (all views) and memory of a training step (one image; MXNet's plan, parameters and momentum): at the
row's own size.'''
HEAD = '%-52s %6s %8s %8s | %8s %9s %10s | %s'


def smoke_rows(rows, folder):
    """Smoke tests one after the other, a line each. Returns the names of those that failed."""
    from experiments.rows.smoke import smoke_apart  # MXNet is not needed to list the rows
    print(HEAD % ('row', 'steps', 'seconds', 'peak GB', 'M param', 'GFLOP', 'train GB', 'losses; detections'))
    failed = []
    for row in rows:
        found = smoke_apart(row, Path(folder) / row.name)
        if found is None:
            failed.append(row.name)
            print('%-52s FAILED, see %s' % (row.name, Path(folder) / row.name / 'smoke.log'), flush=True)
            continue
        print(HEAD % (row.name, found.steps, '%.0f' % found.seconds, '%.1f' % (found.resident / 1e9),
                      '%.1f' % (found.parameters / 1e6), '%.1f' % found.gflop, '%.2f' % (found.memory / 1e9),
                      '%s; %d' % (found.losses, found.detections)), flush=True)
    return failed


def smoke_command(name):
    """Run the smoke tests; returns the exit status."""
    rows = ROWS if name == 'all' else [find_row(name)]
    folder = tempfile.mkdtemp(prefix='rfcn_smoke_')
    started = time.time()
    failed = smoke_rows(rows, folder)
    print(FOOT % (len(rows) - len(failed), len(rows), time.time() - started))
    return 1 if failed else 0


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--markdown', action='store_true', help='print the table as markdown')
    what.add_argument('--run', metavar='ROW', help='run this row')
    what.add_argument('--smoke', metavar='ROW', nargs='?', const='all', help='prove that this row, or all of them, run')
    parser.add_argument('--output', type=Path, help='where the rows wrote, if not in ./output')
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE', help='of --run')
    args = parser.parse_intermixed_args(argv)
    if args.smoke:
        return smoke_command(args.smoke)
    if args.run:
        from experiments.rows.commands import run
        run(find_row(args.run), args.overrides)
    else:
        print(show.as_markdown(args.output) if args.markdown else show.as_text(args.output))
    return 0


if __name__ == '__main__':
    run_script(main)
