"""What a value of the configuration may be.

A kind takes what YAML read and returns it in the one form that the code reads, or raises ValueError with the second
half of a message: "must be float, not 'x' (what to do)". The first half, file and key, is config.py's.
"""
import math
import os
import re
from decimal import Decimal

from lib.utils.limits import MAX_PIXELS

MOST_OF_INT32 = 2 ** 31 - 1    # MXNet takes no more
MOST_IN_LIST = 64              # scales, anchors: each costs memory at every place or a pass of its own


def show(value):
    """The value as the user wrote it, short enough for one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to print an integer of more than 4300 digits
        text = 'a %s too large to print' % type(value).__name__
    return text if len(text) <= 80 else text[:77] + '...'


def _refuse(expected, value, remedy=''):
    raise ValueError('must be %s, not %s%s' % (expected, show(value), remedy and ' (%s)' % remedy))


def _check_range(value, low, high):
    if low is not None and value < low:
        _refuse('%s or more' % low, value)
    if high is not None and value > high:
        _refuse('%s or less' % high, value)
    return value


def flag(value):
    """true or false."""
    return value if isinstance(value, bool) else _refuse('true or false', value)


def whole(low=None, high=MOST_OF_INT32):
    """An integer from low to high, both included."""
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int):
            _refuse('int', value)
        return _check_range(value, low, high)
    return check


def _exponent_hint(value):
    """YAML 1.1 reads 1e-4 as text, since it has no point and no sign: the most frequent slip in a learning rate."""
    if not re.fullmatch(r'[-+]?[0-9.]+[eE][-+]?[0-9]{1,2}', value if isinstance(value, str) else ''):
        return ''
    try:
        return 'YAML reads %s as text: write %s' % (value, format(Decimal(repr(float(value))), 'f'))
    except ValueError:
        return ''


def real(low=None, high=None):
    """A finite float from low to high, both included; an integer counts as one."""
    def check(value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            _refuse('float', value, _exponent_hint(value))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            _refuse('a finite float', value)
        return _check_range(number, low, high)
    return check


fraction = real(0, 1)

# What memory is asked for once a network is made, long after the configuration was read: so there are limits, far above
# what anybody trains.

channels = whole(1, 2 ** 14)     # of a convolution


def images(low):
    """Images of a device, in a batch: an integer of `low` or more."""
    return whole(low, 2 ** 10)


def boxes(low):
    """Boxes of an image that get a place in arrays: an integer of `low` or more."""
    return whole(low, 2 ** 17)


def anchor_shapes(value):
    """Scales or ratios of the anchors."""
    return some(real(1e-3, 1e4), MOST_IN_LIST)(value)


def count_or_minus_one(value):
    """An integer of 1 or more, or -1 which stands for 'all'."""
    value = boxes(-1)(value)
    return value if value != 0 else _refuse('-1 (all) or 1 or more', value)


def text(value):
    """Any text without a NUL. A number is refused, since YAML has already lost how it was written."""
    if not isinstance(value, str):
        _refuse('text', value, 'put it in quotes')
    return _refuse('text without the character NUL', value) if '\0' in value else value


def path(value):
    """A path, or the first part of one; ~ is the home folder, which a shell does not see to in a file or behind a =."""
    return os.path.expanduser(text(value))


def name_part(value):
    """A part of a file's name."""
    return _refuse('a part of a name, without /', value) if '/' in text(value) else value


def one_set(value):
    """The name of one image set; '' is none. Several sets joined by + are trained on, but not evaluated together."""
    if '+' in text(value):
        _refuse('one image set', value, 'sets are joined by + for training only; test on one after the other')
    return value


def choice(*values):
    """One of the values."""
    def check(value):
        if not any(value == known and type(value) is type(known) for known in values):
            _refuse('one of ' + ', '.join(map(str, values)), value)
        return value
    return check


def tuple_of(kind, length=None, most=None):
    """A list whose every item is of the kind; `length` items if that is given, else any number up to `most`."""
    def check(value):
        if not isinstance(value, (list, tuple)):
            _refuse('a list', value)
        if length is not None and len(value) != length:
            _refuse('a list of %d' % length, value)
        if most is not None and len(value) > most:
            _refuse('a list of at most %d' % most, value, 'it has %d' % len(value))
        return tuple(kind(item) for item in value)
    return check


def some(kind, most=None):
    """A list of at least one item of the kind, and `most` of them."""
    def check(value):
        return tuple_of(kind, most=most)(value) or _refuse('a list of at least one', value)
    return check


def multipliers(value):
    """A mapping from parameter name prefix to a float of 0 or more."""
    if not isinstance(value, dict):
        _refuse('a mapping from name prefix to float', value)
    for name in value:
        if not isinstance(name, str) or hasattr(dict, name):  # a name like 'items' would hide the dictionary's method
            _refuse('a mapping whose keys are parameter names', value)
    return {name: real(0)(item) for name, item in value.items()}


def devices(value):
    """GPU numbers '0,1' (text, a number or a list), or '' for the CPU."""
    if isinstance(value, str):
        value = value.split(',') if value.strip() else ()
    numbers = [show(number).strip('\'" ') for number in (value if isinstance(value, (list, tuple)) else [value])]
    if not all(re.fullmatch('[0-9]{1,4}', number) for number in numbers) or len(set(numbers)) < len(numbers):
        _refuse("different GPU numbers such as '0,1', or '' for the CPU", value)
    return ','.join(numbers)


def epochs(value):
    """Epochs at which the learning rate drops, ascending: '2,4.5' (the release's form), a number or a list."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(',') if part.strip()]
        if not all(re.fullmatch(r'[0-9]{1,9}(\.[0-9]*)?', part) for part in parts):
            _refuse("epochs such as '2,4.5'", value)
        value = [float(part) for part in parts]
    steps = tuple_of(real(0))(value if isinstance(value, (list, tuple)) else [value])
    return steps if list(steps) == sorted(set(steps)) else _refuse('epochs in ascending order', value)


def epoch_count(value):
    """Epochs to train: 7, or a fraction such as 7.25, which ends a quarter of the way through the eighth."""
    value = real(0, 9999)(value)
    return int(value) if value == int(value) else value


def _scale(value):
    """(target, max): pixels of the shorter side and the most that the longer side may have."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        _refuse('a pair [shorter side, longest side] or a list of such pairs', value)
    target, longest = (whole(1, 2 ** 15)(side) for side in value)
    if target * longest > MAX_PIXELS:
        _refuse('a pair of at most %d pixels' % MAX_PIXELS, value, '%d x %d are more' % (target, longest))
    return (target, longest) if target <= longest else _refuse('a pair with the shorter side first', value)


def scales(value):
    """One pair [600, 1000], as in the release's YAML files, or a list of pairs: always a tuple of pairs afterwards."""
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (list, tuple)):
        value = [value]
    return tuple_of(_scale, most=MOST_IN_LIST)(value)


def scale_or_none(value):
    """One pair [600, 1000], or [] for none: a tuple of one pair or of none, as `scales` gives it."""
    value = scales(value)
    return value if len(value) < 2 else _refuse('one pair [shorter side, longest side]', value)


def at_least_one_scale(value):
    """As `scales`, and not empty."""
    return scales(value) or _refuse('a pair [shorter side, longest side] or a list of such pairs', value)


def class_names(value):
    """A list of names without the background, or the path of a file with one name per line (read by config.py)."""
    if isinstance(value, str):
        return value.strip()
    names = tuple(text(name).strip() for name in tuple_of(text)(value))
    names = names[1:] if names[:1] == ('__background__',) else names
    if not all(names) or len(set(names)) < len(names) or '__background__' in names:
        _refuse('different names, none of them empty or __background__', value)
    return names
