"""Names from outside are shown escaped."""
from pathlib import Path

import pytest

from lib.utils.shown import counted, shown, shown_text


@pytest.mark.parametrize('name, expected', [
    ('street 1.jpg', 'street 1.jpg'),
    ('ca\u00f1\u00f3n \u72d7 \u0441\u043e.jpg', 'ca\u00f1\u00f3n \u72d7 \u0441\u043e.jpg'),
    ('a\x1b[31mred\x07.jpg', r'a\x1b[31mred\x07.jpg'),
    ('a\nb\rc\td', r'a\nb\rc\td'),
    ('gpj.\u202eexe', r'gpj.\u202eexe'),
    ('\x9b31m', r'\x9b31m'),            # the one-character form of ESC [
    ('caf\udce9.jpg', r'caf\xe9.jpg'),  # Latin-1, as os.fsdecode gives it
    (b'caf\xe9.jpg', r'caf\xe9.jpg'),
    (Path('a\x1b') / 'b', r'a\x1b/b'),
    (3, '3')])
def test_what_is_not_printable_is_escaped(name, expected):
    assert shown(name) == expected
    shown(name).encode('utf-8')


def test_the_lines_of_a_message_stay_lines():
    assert shown_text('a\n\tb\x1b[2J\r') == 'a\n\tb\\x1b[2J\\r'


@pytest.mark.parametrize('number, said', [(0, '0 objects'), (1, '1 object'), (2, '2 objects')])
def test_one_object_is_no_plural(number, said):
    assert counted(number, 'object') == said
