"""The errors that a user can cause and mend.

Each message says what was expected, what was found, in which file, and what to do.
"""
from __future__ import annotations


class UserError(Exception):
    """The base class. A command that ends with one prints its message and no traceback; see rfcn/cli/script.py."""


class DatasetError(UserError, ValueError):
    """An image, an annotation or a list of images is not what its format promises."""


class ConfigError(UserError, ValueError):
    """A key or a value of the configuration is unknown, misspelt, of the wrong type or out of range."""


class CheckpointError(UserError, ValueError):
    """A parameter file is damaged or does not fit the network."""


def reason_of(error: BaseException) -> BaseException | str:
    """Why something failed: of the system's errors its words alone, without their number and the file's name."""
    return getattr(error, 'strerror', None) or error


def or_skipped(error: UserError | FileNotFoundError) -> UserError | FileNotFoundError:
    """The error of an image that cannot be read, with words on how to do without such images."""
    return type(error)('%s. Or do without such images: dataset.on_bad_image=skip' % error)


def error_line(error: BaseException) -> str:
    """The line of an error's text that says what went wrong: the first line, unless that begins a traceback.

    The texts of MXNet's errors and of errors in other processes begin with one. There it is the last line that is not
    indented. The name of the error's class stands for an error without text.
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if not lines[0].startswith('Traceback'):
        return next((line for line in lines if line.startswith('MXNetError: ')), lines[0])
    return next((line for line in reversed(lines[1:]) if not line[0].isspace()), lines[-1].strip())
