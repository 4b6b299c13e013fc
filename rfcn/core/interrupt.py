"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) as a wish to stop after the work in hand, so that it can be saved."""
import contextlib
import logging
import signal
import threading

logger = logging.getLogger(__name__)


class Stopped(SystemExit):
    """A run that was asked to stop and can be resumed; the exit status is the shell's for that signal."""

    def __init__(self, signal):
        super().__init__(128 + signal)


class StopNow(KeyboardInterrupt):
    """A signal that asked to stop came within `StopWish.at_once`."""


class StopWish:
    """While active, the first of SIGNALS only sets `signal`; a second Ctrl-C interrupts at once, as usual.

    A SIGHUP that is ignored, as `nohup` wants it, stays so; after the first one others are: a closed terminal may send
    several.

        with StopWish() as stop:
            for batch in batches:
                ...
                if stop.signal:
                    break
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self.signal = None
        self._at_once = False
        self._before = {}       # signal -> its handler before this one

    @contextlib.contextmanager
    def at_once(self):
        """A block of work that may stay unfinished: a signal within it raises `StopNow` there."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def __enter__(self):
        # Only the main thread may handle signals; elsewhere nothing changes.
        main = threading.current_thread() is threading.main_thread()
        outlives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        for number in self.SIGNALS:
            if main and not (outlives and number == signal.SIGHUP):
                self._before[number] = signal.getsignal(number)     # first: a signal may come at any moment
                signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        self._restore()

    def _note(self, number, frame):
        self.signal = signal.Signals(number)
        self._restore()
        again = '; again to stop at once'
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
            again = ''
        if self._at_once:
            raise StopNow
        logger.warning('%s: finishing the batch%s', self.signal.name, again)

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
