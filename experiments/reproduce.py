"""The published results, and what was measured here: `rfcn reproduce` lists all rows.

    --markdown                  the same as a table
    --run ROW [KEY=VALUE ...]   run a row from nothing to its number: data, weights, training, test
    --run ROW --params FILE     test a network that is there, such as one of rfcn import; nothing is trained
    --explain ROW               which source gives each number of a row, what is inferred; its schedule in images
    --cost [ROW]                hours that a row, or each of them, would train and test here and on several hosts, in
                                fp32, bf16 and INT8: measures a step of each kind, unless --seconds-per-step says it
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
from lib.errors import UserError
from rfcn.cli.script import make_parser, positive, run_script, whole_number_from

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


def cost_command(args):
    """Print the hours of rows."""
    from experiments.rows import hours
    rows = ROWS if args.cost == 'all' else [find_row(args.cost)]
    seconds = hours.MeasuredSeconds()
    if args.seconds_per_step:
        seconds = hours.given_seconds(args.seconds_per_step, args.seconds_per_image or args.seconds_per_step / 3)
    print('%-46s %5s  hours' % ('row', 'hosts'))
    for row in rows:
        try:
            found = hours.hours(row, seconds, args.overrides)
        except (UserError, OSError) as error:   # its images are not here
            print('%-46s %s' % (row.name, error))
            continue
        for line in hours.lines(row, found, args.hosts or [1, 8]):
            print(line, flush=True)


def parse(argv):
    """Read the command line."""
    parser = make_parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--markdown', action='store_true', help='print the table as markdown')
    what.add_argument('--run', metavar='ROW', help='run this row')
    what.add_argument('--explain', metavar='ROW', help='tell what this row rests on')
    what.add_argument('--cost', metavar='ROW', nargs='?', const='all', help='hours that this row, or all, would take')
    what.add_argument('--smoke', metavar='ROW', nargs='?', const='all', help='prove that this row, or all of them, run')
    parser.add_argument('--params', type=Path, metavar='FILE', help='of --run: a network to test, .params')
    parser.add_argument('--output', type=Path, help='where the rows wrote, if not in ./output')
    parser.add_argument('--hosts', type=whole_number_from(1), nargs='+', metavar='N',
                        help='of --cost: numbers of machines like this one (default 1 and 8)')
    parser.add_argument('--seconds-per-step', type=positive, metavar='S',
                        help='of --cost: seconds of one training step of one image; nothing is measured then')
    parser.add_argument('--seconds-per-image', type=positive, metavar='S',
                        help='of --cost: seconds of one test image, where those of a step are given (default a third)')
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE', help='of --run, --explain and --cost')
    return parser.parse_intermixed_args(argv)


def main(argv=None):
    """Entry point. Returns the exit status."""
    args = parse(argv)
    if args.overrides and not (args.run or args.explain or args.cost):
        raise UserError('%s: KEY=VALUE is for --run, --explain and --cost; these take the name of a row, as in rfcn '
                        'reproduce --explain paper_voc07_rfcn' % args.overrides[0])
    if args.params and not args.run:
        raise UserError('--params is for --run ROW, the row whose test it takes')
    if not args.cost and (args.hosts or args.seconds_per_step):
        raise UserError('--hosts and --seconds-per-step are for --cost')
    if args.seconds_per_image and not args.seconds_per_step:
        raise UserError('--seconds-per-image goes with --cost and --seconds-per-step: nothing is measured then')
    if args.output and (args.run or args.explain or args.cost or args.smoke):
        raise UserError('--output says where rows wrote, for their list; a row writes to output_path=DIR')
    if args.smoke:
        return smoke_command(args.smoke)
    if args.cost:
        cost_command(args)
    elif args.explain:
        from experiments.rows.explain import explain
        print(explain(find_row(args.explain), args.overrides))
    elif args.run:
        from experiments.rows.commands import run, test_published
        from rfcn.cli.run import log_to
        log_to(None)    # what is fetched, what starts from where, how long it will take
        if args.params:
            test_published(find_row(args.run), args.params, args.overrides)
        else:
            run(find_row(args.run), args.overrides)
    else:
        print(show.as_markdown(args.output) if args.markdown else show.as_text(args.output))
    return 0


if __name__ == '__main__':
    run_script(main)
