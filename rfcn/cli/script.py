"""How a script is called and how it ends: user errors in one sentence, errors of the program with their traceback.

    if __name__ == '__main__':
        run_script(main)
"""
import argparse
import contextlib
import errno
import functools
import logging
import os
import signal
import sys
import traceback

import rfcn
from lib.errors import UserError
from lib.utils.console import discard, shown, shown_text
from lib.utils.limits import kind_of
from lib.utils.memory import is_lack_of_memory, lack_of_memory
from rfcn.cli.commands import COMMANDS, SPELLED_NOW, example_of

TRACEBACK = '--traceback'
CALLED = 'rfcn '     # how sys.argv[0] of a command begins; its name follows
FAILED = 1
ENDING = (signal.SIGTERM, signal.SIGHUP)    # what ends a command as Ctrl-C does


class Signalled(KeyboardInterrupt):
    """One of ENDING came; `number` is the signal."""

    def __init__(self, number):
        super().__init__()
        self.number = number


class _Parser(argparse.ArgumentParser):
    """Refuses empty words, and shows what is not printable in those that it was given as escapes."""

    def parse_known_args(self, args=None, namespace=None):
        return super().parse_known_args(self._words(args), namespace)

    def parse_known_intermixed_args(self, args=None, namespace=None):
        return super().parse_known_intermixed_args(self._words(args), namespace)

    def _words(self, args):
        """The words to parse. An empty one is refused: its option would count as not given, or name this folder."""
        words = list(sys.argv[1:] if args is None else args)
        for before, word in zip([''] + words, words):
            option, equals, value = word.partition('=') if word.startswith('--') else (before, '=', word)
            if equals and not value.strip():
                self.error('%s is followed by an empty word: give a value, or leave the option out. Is a variable of '
                           'the shell unset?' % (option or 'the command'))
        return words

    def _print_message(self, message, file=None):
        with contextlib.suppress(OSError):      # as Python does from 3.11 on: the status says what happened
            super()._print_message(message and shown_text(message), file)


def make_parser(description):
    """An ArgumentParser with the argument that all scripts share; `run_script` takes care of it.

    Args:
        description: printed by --help with its lines as they are. Behind the arguments a command's --help has its
            example.
    """
    command = sys.argv[0][len(CALLED):] if sys.argv[0].startswith(CALLED) else None
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
                     epilog=example_of(command) if command in COMMANDS else None)
    parser.add_argument(TRACEBACK, action='store_true', default=argparse.SUPPRESS,
                        help='after an error, show where in the program it arose')
    return parser


def whole_number_from(least, most=2 ** 31 - 1):
    """An argument's type for argparse: a whole number from `least` to `most`."""
    def read(text):
        if not text.isdecimal() or len(text) < 20 and int(text) < least:
            raise argparse.ArgumentTypeError('expected a whole number from %d, not %r' % (least, text))
        if len(text) >= 20 or int(text) > most:     # Python reads no more than 4,300 digits
            raise argparse.ArgumentTypeError('expected %d at most, not %.30s' % (most, text))
        return int(text)
    return read


def positive(text):
    """An argument's type for argparse: a number above 0, such as of seconds."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float('inf'):
            return float(text)
    raise argparse.ArgumentTypeError('expected a number above 0, not %.30r' % text)


def some_of(known):
    """An argument's type for argparse: some of the words `known`, with commas between them; a list."""
    def read(text):
        for word in text.split(','):
            if word not in known:
                raise argparse.ArgumentTypeError('expected some of %s, with commas between them, not %r'
                                                 % (','.join(known), word))
        return text.split(',')
    return read


def share(text):
    """An argument's type for argparse: a number from 0 to 1, such as a score."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:   # never of nan
            return float(text)
    raise argparse.ArgumentTypeError('expected a number from 0 to 1, not %r' % text)


def run_script(main):
    """Call a script's `main` with the process's arguments and end the process.

    An error that the user can mend (a `UserError`, or one of the system such as a missing file) becomes one message on
    stderr and in the log of the run; the status is 1. Ctrl-C, SIGTERM and SIGHUP remove what is half written and give
    130, 143 and 129. Any other error is the program's: it keeps its traceback, which goes to the log as well.

    If the environment makes this process the scheduler or a server of several, it is that and does not call `main`.

    Args:
        main: a function without arguments; the status is the number that it returns, 0 if it returns none.
    """
    _make_streams_safe()
    if rfcn.HELPER_ROLE:
        from rfcn.launching.roles import serve
        main = functools.partial(serve, rfcn.HELPER_ROLE)
    try:
        with _ended_by_signals():
            _run(main)
    except SystemExit as end:
        _leave_the_others(end.code)
        raise
    except BaseException as error:
        if _joined_workers():
            traceback.print_exc()
            _fail('the program failed (%s: %s)' % (type(error).__name__, error))
            _leave_the_others(FAILED)
        raise


def _run(main):
    """Call `main` and end by SystemExit, or by an error of the program."""
    script = os.path.basename(sys.argv[0])
    if script in SPELLED_NOW:
        print('note: %s is now the command rfcn %s' % (script, SPELLED_NOW[script]), file=sys.stderr)
    end = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)   # what follows is for the command that it starts
    show = TRACEBACK in sys.argv[:end]
    sys.argv[1:end] = [word for word in sys.argv[1:end] if word != TRACEBACK]
    try:
        status = _call(main)
    except BrokenPipeError:     # the reader of our output, such as `head`, has enough
        _give_up('standard output was closed by its reader before the command had done its work', show)
    except (UserError, OSError) as error:
        _give_up(lack_of_memory() if getattr(error, 'errno', None) == errno.ENOMEM else message(error), show)
    except KeyboardInterrupt as error:
        sys.unraisablehook = lambda unraisable: None    # of what stays half made, such as an NDArray without its handle
        number = getattr(error, 'number', signal.SIGINT)
        _give_up('interrupted' if number == signal.SIGINT else 'ended by ' + number.name, show, 128 + number)
    except UnicodeEncodeError as error:
        if not _is_name(error):
            raise
        _give_up(_no_utf8(error), show)
    except Exception as error:
        if not is_lack_of_memory(error):
            to_log_files('the program failed', exc_info=sys.exc_info())
            raise
        _give_up(lack_of_memory(), show)
    except SystemExit:      # such as of --help
        _flush_output(show)
        raise
    _flush_output(show)
    sys.exit(status if isinstance(status, int) else 0)


def _call(main):
    """What `main` returns. Nothing can be raised out of a function that MXNet calls: where a signal came within one,
    `main` ends as the signal would have ended it, whether MXNet failed for it or not.
    """
    lost, before = [], sys.unraisablehook

    def note(unraisable):
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost.append(unraisable.exc_value or KeyboardInterrupt())
        else:
            before(unraisable)
    sys.unraisablehook = note
    try:
        status = main()
    except Exception:
        if not lost:
            raise
    finally:
        sys.unraisablehook = before
    if lost:
        raise lost[0]
    return status


def _flush_output(show):
    """Write what is left of the output of a command that has done its work; end the process where that fails.

    What standard error did not take is lost, and changes no status.
    """
    with _or_lost(sys.stderr):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        _give_up(message(error), show)


@contextlib.contextmanager
def _ended_by_signals():
    """Within a `with` block, the first of ENDING raises `Signalled`, so that what is half written is removed; the next
    one ends the process.

    One that is ignored stays so, as `nohup` wants it. Of several processes each keeps the system's way: they wait for
    one another inside of MXNet, where Python hears no signal.
    """
    def end(number, frame):
        signal.signal(number, signal.SIG_DFL)
        raise Signalled(signal.Signals(number))

    several = rfcn.HELPER_ROLE or os.environ.get('DMLC_ROLE')
    taken = [number for number in ENDING if not several and signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _is_name(error):
    """Whether a text could not be encoded for a byte of a file's name that is no UTF-8 (`os.fsdecode`)."""
    return isinstance(error.object, str) and '\udc80' <= error.object[error.start] <= '\udcff'


def _no_utf8(error):
    line = error.object[error.object.rfind('\n', 0, error.start) + 1:].partition('\n')[0]
    return '%s: a name that is no UTF-8, and here it must be (or the locale, LC_ALL, knows ASCII alone). Rename it, ' \
           'or set LC_ALL=C.UTF-8' % shown(line[:200])


def _make_streams_safe():
    """Letters that the terminal's encoding lacks are escaped; a closed stream (>&-) swallows what is written to it."""
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        if getattr(sys, name) is None:
            discard(number)     # or the next file that is opened would get its number
            setattr(sys, name, open(number, 'w', encoding='utf-8', errors='backslashreplace', closefd=False))
            if name == 'stdout':
                print('note: standard output is closed; what is logged goes to the log.txt of the run', file=sys.stderr)
        elif hasattr(getattr(sys, name), 'reconfigure'):
            getattr(sys, name).reconfigure(errors='backslashreplace')


def message(error):
    """The text of an error; the system's as 'file: what is wrong', without their number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        if isinstance(error, FileExistsError) and not os.path.isdir(error.filename):
            return '%s: a folder is expected there, and it is %s' % (shown(error.filename), kind_of(error.filename))
        return '%s: %s' % (error.filename, error.strerror)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:   # of a file that is open
        return 'standard output or a file cannot be written: %s' % error.strerror
    return str(error) or type(error).__name__


def _give_up(text, show, status=FAILED):
    """End the process with a message on stderr, after the traceback of the present error if `show`, and in the logs."""
    with _or_lost(sys.stderr):
        if show:
            print(shown_text(traceback.format_exc()), file=sys.stderr, end='')
        print('error: ' + shown_text(text), file=sys.stderr)
    with _or_lost(sys.stdout):
        sys.stdout.flush()
    to_log_files(text)
    _fail(text)
    sys.exit(status)


@contextlib.contextmanager
def _or_lost(stream):
    """Within a `with` block, a stream that cannot be written stops nothing: what is left for it goes nowhere."""
    try:
        yield
    except OSError:
        discard(stream.fileno())


def _fail(text):
    """Where this process is a worker, tell the others why it ends."""
    if _joined_workers():
        _joined_workers().fail(text)


def _joined_workers():
    """The `Workers` that this process has joined, or None; MXNet is not loaded for the question."""
    module = sys.modules.get('rfcn.core.workers')
    return module and module.joined_workers()


def _leave_the_others(status):
    """End the process of a worker, together with the others unless it failed; for other processes do nothing."""
    if _joined_workers():
        _joined_workers().leave()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0 if status is None else FAILED)


def to_log_files(text, exc_info=None):
    """Write into the files that the run logs to, not to the screen."""
    record = logging.LogRecord('rfcn', logging.ERROR, __file__, 0, '%s', (text,), exc_info)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
