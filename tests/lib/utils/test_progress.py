"""Bars on terminals, lines in logs."""
import io
import logging
import sys

from lib.utils import progress as module
from lib.utils.progress import progress


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
    monkeypatch.setattr(module, 'LINE_PERIOD', 0.0)
    with caplog.at_level(logging.INFO):
        with progress(total=4, desc='epoch 1/2', unit='batches') as bar:
            bar.update(2)
            bar.set_postfix_str('loss 0.5')
    assert 'epoch 1/2: 2 of 4 batches, 00:00 passed, 00:00 left, loss 0.5' in caplog.text
