"""Names from outside are shown escaped; bars on terminals, lines in logs."""
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.utils import console
from lib.utils.console import counted, discard, listed, progress, say, shown, shown_text

ROOT = Path(__file__).resolve().parents[3]


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


def test_what_is_printed_and_listed_is_escaped(capsys):
    assert listed(['a', 'b\nc']) == 'a, b\\nc'
    say('two\nlines\x07')
    assert capsys.readouterr().out == 'two\nlines\\x07\n'


def test_the_lines_of_a_message_stay_lines():
    assert shown_text('a\n\tb\x1b[2J\r') == 'a\n\tb\\x1b[2J\\r'


@pytest.mark.parametrize('number, noun, said', [(0, 'object', '0 objects'), (1, 'object', '1 object'),
                                                (2, 'object', '2 objects'), (2, 'class', '2 classes')])
def test_a_noun_after_a_number_is_singular_or_plural(number, noun, said):
    assert counted(number, noun) == said


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    assert list(progress(range(3), desc='a\x1b[31m', unit='image')) == [0, 1, 2]
    assert '3/3' in sys.stderr.getvalue() and '\x1b[31m' not in sys.stderr.getvalue()


def test_a_redirected_log_gets_no_bar_and_of_short_work_no_line(monkeypatch, caplog):
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    with caplog.at_level(logging.INFO):
        assert list(progress(range(3), desc='test', unit='image')) == [0, 1, 2]
    assert sys.stderr.getvalue() == '' and caplog.text == ''


def test_of_long_work_the_log_has_lines_with_the_time_that_is_left(monkeypatch, caplog):
    monkeypatch.setattr(sys, 'stderr', None)
    monkeypatch.setattr(console, 'LINE_PERIOD', 0.0)
    with caplog.at_level(logging.INFO):
        with progress(total=4, desc='epoch 1/2', unit='batches') as bar:
            bar.update(2)
            bar.set_postfix_str('loss 0.5')
    assert 'epoch 1/2: 2 of 4 batches, 00:00 passed, 00:00 left, loss 0.5' in caplog.text


def test_what_is_discarded_reaches_nobody_and_no_descriptor_stays_open(tmp_path):
    with open(tmp_path / 'read', 'wb', buffering=0) as file:
        before = set(os.listdir('/proc/self/fd'))
        discard(file.fileno())
        assert set(os.listdir('/proc/self/fd')) == before
        file.write(b'x')
    assert (tmp_path / 'read').read_bytes() == b''


def test_a_standard_output_that_was_closed_is_discarded_also_for_programs_that_are_started():
    child = [sys.executable, '-c', 'import os; os.write(1, bytes(1))']
    code = ('import os, subprocess, sys; sys.path.insert(0, %r); from lib.utils.console import discard; os.close(1);'
            'discard(1); sys.exit(subprocess.call(%r))' % (str(ROOT), child))
    assert subprocess.call([sys.executable, '-c', code]) == 0
