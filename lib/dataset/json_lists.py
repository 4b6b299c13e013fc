"""Reads a large json file item by item: an object whose values are lists of objects, as COCO's annotations.

The standard library's `json.load` holds the text and all that is in it, some 20 times what is needed of COCO.
"""
import contextlib
import json
import os
import re
from typing import Iterator, Tuple

from lib.dataset.files import check_regular, decoded, read_file
from lib.errors import DatasetError
from lib.utils.progress import progress

CHUNK = 2 ** 20         # characters that are read at once
LARGE = 64              # chunks of a file from which on a bar is shown
LONGEST_END = 3         # characters by which a number may go on after what is one already: 1 and e+5
LIST = object()         # stands for a list whose items follow
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r'[ \t\r\n]*')


def items_of_lists(path: str) -> Iterator[Tuple[str, int, object]]:
    """Yield (key, number, item) for each item of the lists in the object that a file holds.

    Before its items a list is yielded with the number -1 and LIST, any other value with the number -1 and the value.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no json object.
    """
    try:
        check_regular(path)
        total = os.path.getsize(path) // CHUNK
        with open(path, encoding='utf-8-sig') as file, contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(desc=os.path.basename(path), unit='MB', total=total)) \
                if total >= LARGE else None
            yield from _Scanner(file, bar).items()
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such annotation file' % os.path.abspath(path)) from None
    except UnicodeDecodeError:
        decoded(read_file(path, 'json'), path, 'json')      # raises an error that tells place and remedy
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError('%s: expected json: %s' % (path, error)) from error


class _Scanner:
    """A window on a text file that moves on as values are taken from it."""

    def __init__(self, file, bar=None):
        self.file, self.bar = file, bar
        self.text, self.position, self.passed, self.ended = '', 0, 0, False

    def items(self):
        """See `items_of_lists`."""
        self.expect('{')
        if self.peek() == '}':
            self.expect('}')
        else:
            yield from self.members()
        if self.peek():
            raise self.error('nothing after the object')

    def members(self):
        """What the keys of the object hold."""
        separator = ','
        while separator == ',':
            key = self.value()
            if not isinstance(key, str):
                raise self.error('a key in quotes')
            self.expect(':')
            if self.peek() == '[':
                yield from self.elements(key)
            else:
                yield key, -1, self.value()
            separator = self.expect(',}')

    def elements(self, key):
        """The items of a list."""
        self.expect('[')
        yield key, -1, LIST
        if self.peek() == ']':
            self.expect(']')
            return
        number, separator = 0, ','
        while separator == ',':
            yield key, number, self.value()
            number += 1
            separator = self.expect(',]')

    def value(self):
        """The next value, of any kind."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
                if end + LONGEST_END <= len(self.text) or self.ended:       # else a number might go on: 1.5, 1e+5
                    self.position = end
                    return value
            except json.JSONDecodeError as error:
                if self.ended:
                    raise ValueError('%s at character %d' % (error.msg, self.passed + error.pos)) from None
            self.more()

    def peek(self):
        """The next character that is no blank, '' at the end."""
        while True:
            self.position = _BLANKS.match(self.text, self.position).end()
            if self.position < len(self.text) or self.ended:
                return self.text[self.position:self.position + 1]
            self.more()

    def expect(self, characters):
        """Take the next character, which must be one of these."""
        found = self.peek()
        if not found or found not in characters:
            raise self.error(' or '.join(characters))
        self.position += 1
        return found

    def more(self):
        """Read as much again as is still to be looked at, at least a chunk."""
        rest = self.text[self.position:]
        self.passed += self.position
        added = self.file.read(max(CHUNK, len(rest)))
        self.text, self.position, self.ended = rest + added, 0, not added
        if self.bar is not None:
            self.bar.update(len(added) // CHUNK)

    def error(self, expected):
        """A ValueError about what stands here."""
        return ValueError('%s at character %d, found %.20r' % (expected, self.passed + self.position,
                                                               self.text[self.position:]))
