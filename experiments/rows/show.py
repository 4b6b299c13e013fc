"""The table of all rows, to read and as markdown."""
from experiments.rows.measured import measured
from experiments.rows.table import ROOT, ROWS, SEED_STD

SHOWN = ('mAP@0.5', 'mAP@0.7', 'AP', 'AP50')  # where nothing is published: the metrics to show
NOT_MEASURED = 'not measured'
NOTES = """All figures are per cent. Acceptable: at most two standard deviations (one is %.2f mAP, of five runs) below
the published figure; for COCO no spread is published. MatR, pyR: the authors' Caffe code for Matlab, its Python
version. Each YAML file says whose schedule it holds. Gradients are summed over GPUs: on more or fewer of them rates
and epochs stay.""" % SEED_STD


def figures(metrics, names=None):
    """'79.6' for one figure, '32.1 / 54.3' for several; '' for none."""
    values = [metrics[name] for name in names or metrics if name in metrics]
    return ' / '.join('%.1f' % value for value in values)


def published_names(row):
    """The metrics that a row is about."""
    return list(row.published) or list(SHOWN)


def outcome(row, found):
    """What was measured, and where: '79.4 / 62.8 (2026-11-22, abc1234, seed 0, machine; other TRAIN.lr)'."""
    if found is None:
        return NOT_MEASURED
    values = figures(found.metrics, published_names(row))
    date = found.date.replace('T', ' ')[:16]
    other = found.changed and '; other ' + ', '.join(found.changed)
    return '%s (%s, %s, seed %s, %s%s)' % (values, date, found.commit, found.seed, found.machine, other or '')


def accepted(row):
    """The figures from which on a run is as published."""
    if not row.published:
        return '-'
    if row.band is None:
        return 'spread unknown'
    name, value = next(iter(row.published.items()))
    return '%s >= %.1f' % (name, value - row.band)


def verdict(row, found):
    """' ok' or ' below' where a figure of the row's own settings can be held against the band."""
    if found is None or found.changed or row.band is None or not row.published:
        return ''
    name, value = next(iter(row.published.items()))
    return '' if name not in found.metrics else ' ok' if found.metrics[name] >= value - row.band else ' below'


def command(row):
    """What runs a row."""
    return 'bash %s' % row.script_path.relative_to(ROOT)


def metric_names(row, found):
    """'mAP@0.5 / mAP@0.7' of the published figures, or else of the measured ones."""
    measured_ones = [name for name in SHOWN if found and name in found.metrics]
    return ' / '.join(list(row.published) or measured_ones) or '-'


def lines(output=None, rows=ROWS):
    """(row, cells) of each row: name, what, metrics, paper, release, measured, acceptable, command."""
    result = []
    for row in rows:
        found = measured(row, output)
        what = row.what + (' (%s)' % row.note if row.note else '')
        result.append((row, [what, metric_names(row, found),
                             figures(row.paper or {}) or row.paper_says or '-', figures(row.release or {}) or '-',
                             outcome(row, found) + verdict(row, found), accepted(row), command(row)]))
    return result


def as_text(output=None):
    """A block of lines for each row."""
    blocks = []
    for row, (what, metrics, paper, release, found, acceptable, run) in lines(output):
        times = row.seconds and '; published time: ' + row.seconds
        blocks.append('%s: %s\n    %s: paper %s, release %s, here %s; acceptable %s%s\n    %s, %s'
                      % (row.name, what, metrics, paper, release, found, acceptable, times, row.kind, run))
    return '\n'.join(blocks + [NOTES])


def as_markdown(output=None):
    """The table of docs/rows.md."""
    head = ['setting', 'metric', 'paper', 'release', 'measured', 'acceptable', 'command']
    table = [head, ['---'] * len(head)] + [cells[:-1] + ['`%s`' % cells[-1]] for _, cells in lines(output)]
    return '\n'.join(['| %s |' % ' | '.join(cells) for cells in table] + ['', NOTES])
