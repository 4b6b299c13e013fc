"""Ctrl-C and SIGTERM as a wish to stop."""
import signal
import threading

import pytest

from rfcn.core.interrupt import StopWish


@pytest.mark.parametrize('number', StopWish.SIGNALS)
def test_the_first_signal_is_only_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopWish() as stop:
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal == number
    assert signal.getsignal(number) == before


@pytest.fixture
def terminal():
    """Ctrl-C as in a terminal; a shell has the programs that it puts into the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_interrupts_at_once(terminal):
    with pytest.raises(KeyboardInterrupt):
        with StopWish():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    wishes = []

    def run():
        with StopWish() as stop:
            wishes.append((stop.signal, signal.getsignal(signal.SIGINT) == before))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert wishes == [(None, True)]
