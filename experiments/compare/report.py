"""The table: what was compared, how far apart the two are, and whether that is near enough."""
import functools
import sys
from typing import NamedTuple

import numpy as np

OK, DEPARTS, SHORT, UNKNOWN, LEFT_OUT = 'ok', 'departs', 'FALLS SHORT', 'NOT UNDERSTOOD', 'left out'
_LAYOUT = '%-15s %-46s %-12s %8s %8s  %-20s %s'
_NOTHING = float('nan')


class Tolerance(NamedTuple):
    """How far apart two arrays may be.

    Every element by the sum of `absolute`, `of_max` times the largest magnitude of theirs, and `each` times its own
    magnitude, or 1 if that is smaller.
    """
    text: str
    absolute: float = 0.0
    of_max: float = 0.0
    each: float = 0.0

    def allows(self, difference, theirs):
        """Whether all of `difference`, the magnitudes of an array's errors, are small enough."""
        magnitudes = np.abs(np.where(np.isfinite(theirs), theirs, 0.0))
        limit = self.absolute + self.of_max * np.max(magnitudes, initial=0.0) + self.each * np.maximum(magnitudes, 1.0)
        return bool(np.all((difference <= limit) | (difference == 0)))


EXACT = Tolerance('exact')
PLAIN = Tolerance('1e-5', each=1e-5)
PIXELS = Tolerance('0.01 px', absolute=0.01)
PROBABILITY = Tolerance('2e-5', absolute=2e-5)
NETWORK = Tolerance('1e-4 of max', of_max=1e-4)


class Errors(NamedTuple):
    """The outcome of one comparison; the errors are NaN where the two cannot be subtracted."""
    shape: str
    absolute: float
    relative: float
    near: bool


def compare(ours, theirs, tolerance):
    """Errors of `ours` against `theirs`: arrays, numbers, or anything else that is equal or not.

    The relative error is the largest error over the largest magnitude of theirs. NaN equals NaN.
    """
    if not (is_numeric(ours) and is_numeric(theirs)):
        return Errors(_length(theirs), _NOTHING, _NOTHING, bool(ours == theirs))
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        return Errors('%s not %s' % (_shape(ours), _shape(theirs)), _NOTHING, _NOTHING, False)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid='ignore'):
        difference = np.where(same, 0.0, np.abs(ours - theirs))
    largest = float(difference.max()) if difference.size else 0.0
    return Errors(_shape(theirs), largest, largest / (_largest(theirs) or 1.0), tolerance.allows(difference, theirs))


def is_numeric(value):
    """Whether it is a number, an array of numbers, or lists of these that make an array."""
    return _numeric_shape(value) is not None


def _numeric_shape(value):
    if not isinstance(value, (list, tuple)):
        array = np.asarray(value)
        return array.shape if array.dtype.kind in 'biuf' else None
    shapes = {_numeric_shape(item) for item in value}
    return None if None in shapes or len(shapes) > 1 else (len(value),) + (shapes.pop() if shapes else ())


def _largest(array):
    return float(np.max(np.abs(array[np.isfinite(array)]), initial=0.0))


def _shape(array):
    return 'x'.join(map(str, array.shape)) or 'number'


def _length(value):
    return '%d entries' % len(value) if isinstance(value, (list, tuple, dict, set)) else 'text'


class Report:
    """Prints the rows as they come and counts their verdicts.

    Attributes:
        case, title: of the rows to come: the vector, and what stands before the name of each of its arrays.
    """

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.counts = {OK: 0, DEPARTS: 0, SHORT: 0, UNKNOWN: 0, LEFT_OUT: 0}
        self.start('')
        self._print(_LAYOUT % ('case', 'what', 'shape', 'max abs', 'max rel', 'tolerance', 'verdict'))

    def start(self, case):
        """The rows to come are of this vector."""
        self.case, self.title = case, ''

    @property
    def passed(self):
        """Whether there was something to compare, and no row falls short or is not understood."""
        return self.counts[OK] + self.counts[DEPARTS] > 0 and not self.counts[SHORT] + self.counts[UNKNOWN]

    def check(self, what, ours, theirs, tolerance=EXACT, released=None, reason=None, note=''):
        """Compare two values and print the row that says how near they are.

        Args:
            released: a function without arguments: ours by the switch that restores the release's rule. It is asked
                only where our own rule gives something else, and must then be near enough.
            reason: why our own rule is another.
            note: printed after the verdict.
        """
        errors, verdict = compare(ours, theirs, tolerance), OK
        if not errors.near and released is not None:
            errors, verdict, note = compare(released(), theirs, tolerance), DEPARTS, reason
        if not errors.near:
            verdict, note = SHORT, ''
        self._row(what, verdict, note, errors.shape, '%.2g' % errors.absolute, '%.2g' % errors.relative, tolerance.text)

    def check_all(self, ours, theirs, tolerance=PLAIN, released=None, reason=None):
        """A row for each entry of `theirs`; ours, and what `released()` returns, have entries of the same names.

        Floats are compared with the tolerance, all else exactly.
        """
        once = functools.lru_cache(maxsize=None)(released) if released else None
        for name, expected in theirs.items():
            is_float = is_numeric(expected) and np.asarray(expected).dtype.kind == 'f'
            self.check(name, ours[name], expected, tolerance if is_float else EXACT,
                       released and (lambda name=name: once()[name]), reason)

    def departs(self, what, reason):
        """A row for what has no number to compare with."""
        self._row(what, DEPARTS, reason)

    def not_understood(self, what):
        """A row for a file, an array or a key that nothing here reads."""
        self._row(what, UNKNOWN)

    def left_out(self, what, reason):
        """A row for what cannot be compared here, for want of a photograph."""
        self._row(what, LEFT_OUT, str(reason))

    def failed(self, what, error):
        """A row for a comparison that could not be made."""
        self._row(what, SHORT, '%s: %s' % (type(error).__name__, error))

    def summarise(self, text):
        """Print the last line: how many rows got each verdict, and `text`."""
        counts = ', '.join('%d %s' % (count, verdict) for verdict, count in self.counts.items())
        self._print('\n%d rows: %s; %s' % (sum(self.counts.values()), counts, text))

    def _row(self, what, verdict, note='', shape='', absolute='', relative='', tolerance=''):
        self.counts[verdict] += 1
        what = '%s: %s' % (self.title, what) if self.title else what
        verdict += ': ' + note if note else ''
        cells = (self.case, what, shape, absolute, relative, tolerance, verdict)
        self._print((_LAYOUT % cells).replace('     nan', '       -'))

    def _print(self, line):
        print(line, file=self.stream, flush=True)
