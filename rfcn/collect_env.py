"""Print what a bug report needs to say: the machine, the versions, the commit (`rfcn report-env`).

Each fact is asked for by itself, so that a broken package shows as one line and does not hide the others.
"""
import importlib.util
import os
import platform
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

from lib import errors
from lib.utils.console import counted, say
from rfcn import __version__
from rfcn.cli.script import make_parser, run_script
from rfcn.precision.cpu import AMX_BF16, AMX_INT8, AVX512_BF16, cores, cpu_flags

ROOT = Path(__file__).resolve().parents[1]
LIB = Path(errors.__file__).resolve().parent
LIB_NAME = errors.__name__.rpartition('.')[0]   # lib, or rfcn.lib in an installed copy
PACKAGES = ('mxnet', 'gluoncv', 'numpy', 'scipy', 'cv2', 'pycocotools', 'Cython', 'easydict', 'yaml', 'matplotlib',
            'tqdm')
OPTIONAL = ('gluoncv', 'Cython')    # an installed copy works without them
SETTINGS = ('MXNET_', 'DNNL_', 'OMP_', 'KMP_', 'DMLC_', 'CUDA_V')     # how their names begin
CPU_FLAGS = ('avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx_vnni', AVX512_BF16, AMX_BF16, AMX_INT8)


def run(*command):
    """The first line that a command prints, or None where it is absent or fails."""
    try:
        wait_before_fork()
        output = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=60).decode(errors='replace')
    except (OSError, subprocess.SubprocessError):
        return None
    return output.strip().partition('\n')[0]


def wait_before_fork():
    """Let MXNet finish its work before a process is started, where Python does that by fork: below 3.10.

    MXNet waits within the fork for its operators, and one in Python that is not done yet waits for the interpreter,
    which the fork holds: for ever.
    """
    if sys.version_info < (3, 10) and sys.modules.get('mxnet'):     # None forbids its import
        sys.modules['mxnet'].nd.waitall()


def git_revision():
    """Short hash of the project's commit, with + where files differ from it; the version outside a checkout."""
    if not (ROOT / '.git').exists():    # an installed copy may lie in a folder of somebody else's commits
        return 'version ' + __version__
    return run('git', '-C', str(ROOT), 'describe', '--always', '--dirty=+') or 'unknown'


def package_version(name):
    """A package's version, or why it can't be imported."""
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if name in OPTIONAL and error.name == name:
            return 'not installed; optional'
        return 'FAILS: %s: %s' % (type(error).__name__, error)
    except Exception as error:  # a binary package can fail in any way
        return 'FAILS: %s: %s' % (type(error).__name__, error)
    try:
        return str(getattr(module, '__version__', None) or metadata.version(name))
    except metadata.PackageNotFoundError:
        return 'present'


def not_compiled():
    """The Cython modules of lib, by name, that have not been compiled: NumPy does their work."""
    names = ('.'.join((LIB_NAME,) + path.relative_to(LIB).with_suffix('').parts) for path in sorted(LIB.rglob('*.pyx')))
    return [name for name in names if importlib.util.find_spec(name) is None]


def proc_field(path, field):
    """What follows 'field :' in a file such as /proc/cpuinfo; '' where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ''
    return next((line.partition(':')[2].strip() for line in lines if line.startswith(field)), '')


def cpu():
    """The processor's model, and which instructions it has of those that count here."""
    flags = cpu_flags()
    useful = ' '.join(flag for flag in CPU_FLAGS if flag in flags) or 'no known flags'
    return '%s; %s' % (proc_field('/proc/cpuinfo', 'model name') or platform.processor() or 'unknown', useful)


def processors():
    """How many processors there are, how many of them this process may use, and on how many cores."""
    of_cores = ', on ' + counted(cores(), 'core') if cores() else ''
    return '%s, usable %s%s' % (os.cpu_count(), usable_processors(), of_cores)


def usable_processors():
    """How many this process may run on; each hyper-thread of a core is one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def machine(gpus):
    """What a test ran on: the GPUs, or the kind of processor and how many of them may be used."""
    if gpus:
        name = run('nvidia-smi', '--query-gpu=name', '--format=csv,noheader') or 'GPU'
        return '%d x %s' % (len(str(gpus).split(',')), name)
    name = proc_field('/proc/cpuinfo', 'model name') or platform.processor() or 'CPU'
    return '%s, %s' % (name, counted(usable_processors(), 'processor'))


def mxnet_features():
    """The features that MXNet was built with."""
    try:
        import mxnet
        return ' '.join(sorted(name for name, feature in mxnet.runtime.Features().items() if feature.enabled))
    except Exception as error:
        return 'FAILS: %s' % type(error).__name__


def collect():
    """A dict of one-line facts, in the order in which they are read best."""
    facts = {
        'revision': git_revision(),
        'Python': '%s at %s' % (platform.python_version(), sys.executable),
        'system': platform.platform(),
        'CPU': cpu(),
        'processors': processors(),
        'memory': proc_field('/proc/meminfo', 'MemTotal') or 'unknown',
        'GPU': run('nvidia-smi', '--query-gpu=name,compute_cap,driver_version', '--format=csv,noheader') or 'none',
        'C compiler': run('gcc', '--version') or 'no gcc',
    }
    facts.update((name, package_version(name)) for name in PACKAGES)
    facts['MXNet features'] = mxnet_features()
    facts['not compiled'] = ', '.join(not_compiled()) or 'nothing, all of lib is'
    settings = sorted(name for name in os.environ if name.startswith(SETTINGS))
    facts['settings'] = ' '.join('%s=%s' % (name, os.environ[name]) for name in settings) or 'none'
    return facts


def main(argv=None):
    """Entry point."""
    make_parser(__doc__).parse_args(argv)
    for name, fact in collect().items():
        say('%-15s %s' % (name, fact))


if __name__ == '__main__':
    run_script(main)
