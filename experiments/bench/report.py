"""Tables on the screen."""


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
