"""A large json file item by item, in chunks: `items_of_lists`.

The standard library's `json.load` holds the text and all that is in it, some 20 times what is needed of COCO.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Iterator

from lib.dataset.files import check_content, decoded, read_file
from lib.errors import DatasetError
from lib.utils.console import progress

CHUNK = 2 ** 20         # characters that are read at once
LARGE = 64              # chunks; a larger file shows a bar
LONGEST_END = 3         # characters by which a number may go on after what is one already: 1 and e+5
LIST = object()         # stands for a list, whose items follow
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r'[ \t\r\n]*')


def items_of_lists(path: str) -> Iterator[tuple[str | None, int, object]]:
    """Yield (key, number, item) for each item of each list in the json object of a file.

    A list is announced by (key, -1, LIST) before its items; any other value is yielded as (key, -1, value). Of a file
    that holds a list instead of an object there is (None, -1, LIST) alone.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file holds neither, or is cut off, or of another encoding; with the place and the remedy.
    """
    try:
        check_content(path, 'json')
        total = os.path.getsize(path) // CHUNK
        with open(path, encoding='utf-8-sig') as file, contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(desc=os.path.basename(path), unit='MB', total=total)) \
                if total >= LARGE else None
            yield from _Scanner(file, bar).items()
    except DatasetError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such annotation file' % os.path.abspath(path)) from None
    except UnicodeDecodeError:
        decoded(read_file(path, 'json'), path, 'json')      # raises an error with place and remedy
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError('%s: expected json: %s. Fetch or export the file again' % (path, error)) from error


class _Scanner:
    """Takes values from a text file, of which it holds the part that is being read."""

    def __init__(self, file, bar=None):
        self.file, self.bar = file, bar
        self.text, self.position, self.ended = '', 0, False
        self.passed = self.lines = 0            # characters and line ends before the text

    def items(self):
        """See `items_of_lists`."""
        if self.peek() == '[':
            yield None, -1, LIST
            return
        self.expect('{')
        if self.peek() == '}':
            self.expect('}')
        else:
            yield from self.members()
        if self.peek():
            raise self.error('nothing after the object')

    def members(self):
        """The keys of the object and their values."""
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
                    raise ValueError('%s %s' % (error.msg, self.place(error.pos))) from None
            self.more()

    def peek(self):
        """The next character that is not a blank; '' at the end."""
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
        """Read on: at least a chunk, or as much again as is left, so that a long value is not parsed too often."""
        rest = self.text[self.position:]
        self.passed += self.position
        self.lines += self.text.count('\n', 0, self.position)
        added = self.file.read(max(CHUNK, len(rest)))
        self.text, self.position, self.ended = rest + added, 0, not added
        if self.bar is not None:
            self.bar.update(len(added) // CHUNK)

    def error(self, expected):
        """A ValueError about what was found at the current position."""
        return ValueError('%s %s, found %.20r' % (expected, self.place(self.position), self.text[self.position:]))

    def place(self, position):
        """Where a position in the text is in the file, for messages."""
        line = self.lines + self.text.count('\n', 0, position) + 1
        return 'at character %d (line %d)' % (self.passed + position, line)
