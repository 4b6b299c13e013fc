"""What the benchmark shows: tables on the screen; the picture of the time from an image file to boxes, and of its parts
that are not convolution.
"""
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.utils.whole_file import save_whole

COLOURS = {'reading and scaling': '#9fb8ce', 'RoI pooling': '#33608c', 'to and from INT8': '#8c564b',
           'other operators': '#5fa35f', 'operators in Python, waiting': '#b0b0b0', 'choosing detections': '#f1a340'}
SHOWN_APART = ('RoI pooling', 'to and from INT8')


def print_facts(facts):
    """A line for each entry."""
    for name, value in facts.items():
        print('%-12s %s' % (name, _text(value)), flush=True)


def print_table(title, rows):
    """A line for each row, a dict; columns as they come up. A value that is a dict gets lines of its own."""
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, dict)))
    lines = [columns] + [[_text(row.get(name, '')) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    print('\n' + title)
    for line in lines:
        print('  '.join(cell.rjust(width) for cell, width in zip(line, widths)).rstrip(), flush=True)
    for row in rows:
        for name, value in row.items():
            if isinstance(value, dict):
                print('%s, %s: %s' % (next(iter(row.values())), name,
                                      ', '.join('%s %s' % (k, _text(v)) for k, v in value.items())))


def _text(value):
    return ('%.3g' % value if isinstance(value, float) and abs(value) < 100
            else '%.0f' % value if isinstance(value, float) else str(value))


def parts_besides_convolution(row):
    """Part -> milliseconds, of a row of the table of inference; in the order in which they are drawn."""
    operators = dict(row['operators'], convolution=0.0)
    waiting = operators.pop('besides operators')
    apart = {name: operators.pop(name, 0.0) for name in SHOWN_APART}
    seconds = {'reading and scaling': row['pre'], **apart, 'other operators': sum(operators.values()),
               'operators in Python, waiting': waiting, 'choosing detections': row['post']}
    return {name: 1000 * value for name, value in seconds.items()}


def draw(rows, path):
    """Draw the rows of the table of inference, a bar each: all seconds; milliseconds besides convolution, in parts."""
    save_whole([path], lambda temporary: picture(rows).savefig(temporary, dpi=100, format='png'))


def picture(rows):
    """The figure of `draw`: names of the bars at the left, once for both panels; each bar's sum at its end."""
    figure = Figure(figsize=(11, 1.8 + 0.25 * len(rows)), tight_layout=True)
    FigureCanvasAgg(figure)  # draws without a screen
    whole, parts = figure.subplots(1, 2, sharey=True)
    _draw_bars(whole, rows, lambda row: {'all': row['total']}, {'all': '#33608c'}, '%.2f s')
    _draw_bars(parts, rows, parts_besides_convolution, COLOURS, '%.0f ms')
    whole.set(xlabel='seconds per image, from the file to boxes', yticks=range(len(rows)),
              yticklabels=['%(backbone)s, %(precision)s' % row for row in rows])
    whole.invert_yaxis()    # the first row at the top
    parts.set(xlabel='milliseconds per image besides convolution')
    parts.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncol=3, fontsize=8, frameon=False)
    return figure


def _draw_bars(axes, rows, parts_of, colours, label):
    for place, row in enumerate(rows):
        left = 0.0
        for part, value in parts_of(row).items():
            axes.barh(place, value, 0.8, left, color=colours[part], label=None if place else part)
            left += value
        axes.annotate(' ' + label % left, (left, place), va='center', fontsize=8)
    axes.margins(x=0.25)    # room for the longest bar's sum
