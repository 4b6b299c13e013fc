"""The one command: `rfcn NAME ...` (`python -m rfcn NAME ...`). Its commands are those of commands.py.

The module of a command is imported when the command is called, so that `rfcn --help` and a mistyped name are answered
at once.
"""
import difflib
import importlib
import os
import sys
from pathlib import Path

import rfcn
from lib.errors import UserError
from rfcn._compat import needing_mxnet
from rfcn.cli.commands import COMMANDS, RENAMED, SHARED
from rfcn.cli.script import CALLED, run_script

ROOT = Path(__file__).resolve().parents[2]


def usage():
    """The text of `rfcn --help`."""
    lines = ['usage: rfcn NAME ...', '', 'R-FCN: object detection via region-based fully convolutional networks.', '']
    lines += ['    %-16s %s' % (name, command.help) for name, command in COMMANDS.items()]
    lines += ['', 'rfcn NAME --help tells what a command takes, with an example; rfcn --version tells the version.']
    return '\n'.join(lines)


def find_command(name):
    """The name in COMMANDS of what the user typed; - and _ are the same.

    Raises:
        UserError: there is no such command.
    """
    names = {known.replace('-', '_'): known for known in COMMANDS}
    typed = name.replace('-', '_')
    if typed in names:
        return names[typed]
    near = RENAMED.get(typed) or names.get(next(iter(difflib.get_close_matches(typed, names, 1)), None))
    raise UserError('there is no command %s%s rfcn --help lists all'
                    % (name, ': did you mean rfcn %s?' % near if near else ';'))


def function_of(name):
    """Import a command's module and return its function.

    Raises:
        UserError: it belongs to the project's folder, which an installed copy does not have.
    """
    module, _, function = COMMANDS[name].function.partition(':')
    package = module.partition('.')[0]
    if package != 'rfcn':
        if not (ROOT / package).is_dir():
            raise UserError('rfcn %s needs the folder %s of the project: clone it and call the command there'
                            % (name, package))
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
    with needing_mxnet():
        return getattr(importlib.import_module(module), function)


def main(argv=None):
    """Call a command with the words that follow its name. Returns what it returns."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if words else 2
    if words[0] == '--version':
        print('rfcn ' + rfcn.__version__)
        return 0
    name = find_command(words[0])
    if os.environ.get('DMLC_ROLE') and name not in SHARED:
        raise UserError('DMLC_ROLE is set: several processes share the work of %s, not that of %s'
                        % (', '.join(SHARED), name))
    sys.argv = [CALLED + name] + words[1:]     # what --help and the first line of a log show
    return function_of(name)(words[1:])


def run():
    """The console script `rfcn`."""
    run_script(main)
