"""One bar for all long work: on a terminal a bar, in a redirected log a line a minute."""
import logging
import sys

from tqdm import tqdm

from lib.utils.shown import shown

logger = logging.getLogger(__name__)

LINE_PERIOD = 60.0  # seconds between two lines of a log
LINE = '{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} passed, {remaining} left{postfix}'


class _Log:
    """What tqdm writes to where there is no terminal: each state of the bar becomes a line of the log."""

    def write(self, text):
        if text.strip():
            logger.info('%s', text.strip())

    def flush(self):
        """There is nothing to flush."""


def progress(iterable=None, desc='', unit='', total=None, initial=0):
    """A tqdm bar around an iterable, or to be updated by hand.

    Args:
        desc: str, what is done, shown by `lib.utils.shown`. unit: str, what is counted.
        total: number of them, None if it is not known. initial: how many were done before.
    """
    settings = dict(desc=shown(desc), unit=unit, total=total, initial=initial)
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(iterable, mininterval=1, **settings)
    return tqdm(iterable, file=_Log(), mininterval=LINE_PERIOD, maxinterval=LINE_PERIOD, delay=LINE_PERIOD,
                bar_format=LINE, **settings)
