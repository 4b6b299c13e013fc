"""The picture of the benchmark: time from an image file to boxes by backbone and precision."""
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.utils.whole_file import save_whole

PARTS = {'network': '#33608c', 'pre': '#9fb8ce', 'post': '#f1a340'}  # drawn from the bottom up
BARS = 0.8  # of the space of a backbone


def draw(rows, path):
    """Draw the rows of the table of inference, a bar each, cut into its parts."""
    backbones = list(dict.fromkeys(row['backbone'] for row in rows))
    precisions = list(dict.fromkeys(row['precision'] for row in rows))
    bar = BARS / len(precisions)
    figure = Figure(figsize=(7, 4), tight_layout=True)
    FigureCanvasAgg(figure)  # draws without a screen
    axes = figure.subplots()
    for row in rows:
        place = (backbones.index(row['backbone'])
                 + bar * (precisions.index(row['precision']) - (len(precisions) - 1) / 2))
        bottom = 0.0
        for part, colour in PARTS.items():
            axes.bar(place, row[part], bar * 0.95, bottom, color=colour, label=part if row is rows[0] else None)
            bottom += row[part]
        axes.annotate('%s\n%.2f s' % (row['precision'].replace(' ', '\n'), bottom), (place, bottom),
                      ha='center', va='bottom', fontsize=8)
    axes.set(xticks=range(len(backbones)), xticklabels=backbones, ylabel='seconds an image, file to boxes')
    axes.margins(y=0.18)
    axes.legend(loc='upper left')
    save_whole([path], lambda temporary: figure.savefig(temporary, dpi=100, format='png'))
