"""Ctrl-C and SIGTERM as a wish to stop after the batch, not as a crash within it."""
import logging
import signal
import threading

logger = logging.getLogger(__name__)


class StopWish(object):
    """While active, the first Ctrl-C or SIGTERM only sets `signal`; a second Ctrl-C interrupts at once, as usual.

        with StopWish() as stop:
            for batch in batches:
                ...
                if stop.signal:
                    break
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.signal = None

    def __enter__(self):
        # Only the main thread may handle signals; elsewhere nothing changes.
        main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS} if main else {}
        return self

    def __exit__(self, *error):
        self._restore()

    def _note(self, number, frame):
        self.signal = signal.Signals(number)
        logger.warning('%s: finishing the batch; again to stop at once', self.signal.name)
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
