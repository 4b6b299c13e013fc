"""Ctrl-C, SIGTERM and SIGHUP as a wish to stop."""
import signal
import threading

import pytest

from rfcn.core.interrupt import StopWish


@pytest.fixture(autouse=True)
def handlers():
    """Those of a program in a terminal; in the background a shell or `nohup` has some signals ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in StopWish.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize('number', StopWish.SIGNALS)
def test_the_first_signal_is_only_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopWish() as stop:
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal == number
    assert signal.getsignal(number) == (signal.SIG_IGN if number == signal.SIGHUP else before)


@pytest.mark.parametrize('number', StopWish.SIGNALS)
def test_a_signal_that_comes_while_handlers_are_put_in_their_places_is_noted(number, monkeypatch):
    handle = signal.signal

    def handle_and_send(which, handler):
        before = handle(which, handler)
        monkeypatch.setattr(signal, 'signal', handle)
        signal.raise_signal(which)
        return before
    monkeypatch.setattr(StopWish, 'SIGNALS', (number,))
    monkeypatch.setattr(signal, 'signal', handle_and_send)
    with StopWish() as stop:
        assert stop.signal == number


def test_a_closed_terminal_may_tell_it_twice_and_a_run_that_shall_outlive_it_hears_nothing(caplog):
    with StopWish() as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.signal == signal.SIGHUP
    assert caplog.messages == ['SIGHUP: finishing the batch']
    with StopWish() as stop:    # SIGHUP is ignored by now, as under nohup
        signal.raise_signal(signal.SIGHUP)
        assert stop.signal is None


def test_a_second_ctrl_c_interrupts_at_once():
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
