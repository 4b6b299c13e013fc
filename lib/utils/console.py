"""Text for people, on a terminal and in a log: names are escaped, numbers counted, long work shows one kind of bar.

Names come from outside: of files, of classes, in errors of libraries. They may hold escape sequences that colour or
clear a terminal, line ends that forge a line of a log, letters that reverse the direction of writing, or bytes that are
not UTF-8 (which Python keeps as lone surrogates). So everything written for people (logs, errors, tables, progress
bars, HTML, pictures) shows names by `shown`, and whole messages, with line ends of their own, by `shown_text`. Commands
print by `say`.
"""
from __future__ import annotations

import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Iterable

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_PERIOD = 60.0  # seconds between two lines of a log
LINE = '{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} passed, {remaining} left{postfix}'


def shown(name: object) -> str:
    r"""A name as printable text: other characters become escapes (\x1b, \u202e), bytes that are not UTF-8 become \xff.

    Args:
        name: str, bytes or path; of anything else its str().
    Returns:
        str that can be encoded in UTF-8. Printable names of any alphabet stay as they are.
    """
    text = name.decode('utf-8', 'surrogateescape') if isinstance(name, bytes) else str(name)
    return text if text.isprintable() else ''.join(map(_escaped, text))


def shown_text(text: object) -> str:
    """A message of one or more lines, escaped as by `shown`, except for line ends and tabs."""
    text = str(text)
    return text if text.isprintable() else ''.join(c if c in '\n\t' else _escaped(c) for c in text)


def _escaped(character):
    if character.isprintable():
        return character
    if '\udc80' <= character <= '\udcff':   # a byte that is not UTF-8, as `os.fsdecode` keeps it
        return '\\x%02x' % (ord(character) - 0xdc00)
    return character.encode('unicode_escape').decode('ascii')


def listed(names: Iterable) -> str:
    """Names with commas between them, each as `shown`."""
    return ', '.join(map(shown, names))


def say(text: object = '', file: IO[str] | None = None) -> None:
    """Print a message for people: `shown_text`."""
    print(shown_text(text), file=file or sys.stdout)


def discard(number: int) -> None:
    """Let what is written to an open or closed file descriptor, such as 1, the standard output, go nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:       # it was closed, and the lowest that was free
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


def counted(number: int, noun: str) -> str:
    """'1 object', '2 objects', '2 classes'."""
    return '%d %s%s' % (number, noun, '' if number == 1 else 'es' if noun.endswith('s') else 's')


class _Log:
    """A file for tqdm where there is no terminal: each state of the bar becomes a line of the log."""

    def write(self, text):
        if text.strip():
            logger.info('%s', text.strip())

    def flush(self):
        """There is nothing to flush."""


def progress(iterable: Iterable | None = None, desc: str = '', unit: str = '', total: int | None = None,
             initial: int = 0) -> tqdm:
    """A tqdm bar around an iterable, or one to update by hand: a bar on a terminal, else a line a minute in the log.

    Args:
        iterable: what to go through; None for a bar that is updated by hand.
        desc: what is done; escaped by `shown`.
        unit: what is counted, such as 'image'.
        total: how many there are; None takes the length of the iterable, if it has one.
        initial: how many were done before.
    """
    from tqdm import tqdm  # here, for data/fetch.py runs without any package
    tqdm.monitor_interval = 0       # no thread that looks after bars: with miniters each step looks at the clock
    settings = dict(desc=shown(desc), unit=unit, total=total, initial=initial, miniters=1)
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(iterable, mininterval=1, **settings)
    return tqdm(iterable, file=_Log(), mininterval=LINE_PERIOD, maxinterval=LINE_PERIOD, delay=LINE_PERIOD,
                bar_format=LINE, **settings)
