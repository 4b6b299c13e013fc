"""The one command: `rfcn NAME ...` (`python -m rfcn NAME ...`). Its commands are the lines of COMMANDS.

A command is a function `main(argv=None)` anywhere in the project and a line here. Its module is imported when the
command is called, so that `rfcn --help` and a mistyped name are answered at once.
"""
import difflib
import importlib
import os
import sys
from collections import namedtuple
from pathlib import Path

from lib.errors import UserError
from rfcn._compat import needing_mxnet
from rfcn.cli.script import run_script

ROOT = Path(__file__).resolve().parents[2]
Command = namedtuple('Command', 'function help')

# name -> function as 'module:name', what it does in one line. In the order in which --help lists them.
COMMANDS = {
    'train': Command('rfcn.train_end2end:main', 'train R-FCN end to end'),
    'train_alternate': Command('rfcn.train_alternate:main', 'train RPN and R-FCN in turns, joined into one network'),
    'train_rpn': Command('rfcn.train_alternate:main_rpn', 'train the RPN alone'),
    'train_given': Command('rfcn.train_alternate:main_given', 'train R-FCN on proposals from files'),
    'propose': Command('rfcn.propose:main', 'write the proposals of an RPN to a file and measure their recall'),
    'test': Command('rfcn.test:main', 'detect on a test set and evaluate'),
    'test_given': Command('rfcn.test:main_given', 'the same on proposals from files'),
    'report': Command('rfcn.report.command:main', 'a page of what a test found and what its errors cost'),
    'demo': Command('rfcn.demo:main', 'draw detections on images or on a video'),
    'explain': Command('rfcn.explaining.command:main', 'show why the network decides what it decides'),
    'prepare': Command('rfcn.prepare:main', 'from a folder of annotated pictures to a configuration that trains'),
    'check': Command('rfcn.check_dataset:main', 'find what is wrong with a data set, and fix it'),
    'convert': Command('rfcn.convert_dataset:main', 'convert a data set between VOC, COCO, CSV and YOLO'),
    'quantize': Command('rfcn.quantize:main', 'make an INT8 model of a checkpoint'),
    'export': Command('rfcn.export:main', 'write a trained network for other programs: ONNX, plain MXNet'),
    'import': Command('rfcn.import_backbone:main', 'take over a backbone or a complete R-FCN of another project'),
    'launch': Command('rfcn.launching.launch:main', 'train or test as several processes, on one host or several'),
    'report-env': Command('rfcn.collect_env:main', 'print what a bug report needs to say about this machine'),
    'fetch': Command('data.fetch:main', 'download PASCAL VOC or COCO'),
    'reproduce': Command('experiments.reproduce:main', 'list, run or try the rows of the published tables'),
    'benchmark': Command('experiments.benchmark:main', 'measure the speed of this machine'),
    'compare': Command('experiments.compare_release:main', 'compare with numbers that the original\'s code computed'),
}
SHARED = ('train', 'train_rpn', 'train_given', 'test', 'test_given')     # whose work several processes can share
RENAMED = {'train_end2end': 'train', 'train_rfcn': 'train_given', 'test_rpn': 'propose', 'test_rfcn': 'test_given',
           'check_dataset': 'check', 'convert_dataset': 'convert', 'import_backbone': 'import',
           'collect_env': 'report-env'}     # what scripts were called before there was one command


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
    raise UserError('there is no command %s%s; rfcn --help lists all'
                    % (name, ': did you mean rfcn %s?' % near if near else ''))


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
        print(_version())
        return 0
    name = find_command(words[0])
    if os.environ.get('DMLC_ROLE') and name not in SHARED:
        raise UserError('DMLC_ROLE is set: several processes share the work of %s, not that of %s'
                        % (', '.join(SHARED), name))
    sys.argv = ['rfcn ' + name] + words[1:]     # what --help and the first line of a log show
    return function_of(name)(words[1:])


def _version():
    import rfcn
    return 'rfcn ' + rfcn.__version__


def run():
    """The console script `rfcn`."""
    run_script(main)
