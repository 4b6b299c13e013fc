"""init.sh and what it decides, with stand-ins for Python, pip and nvidia-smi: nothing is installed."""
import fcntl
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PYTHON = r'''#!/bin/sh
case "$*" in
    *version_info*) echo "$FAKE_VERSION" ;;
    "-m pip --version") [ -z "$FAKE_NO_PIP" ] ;;
    "-m venv "*) [ -z "$FAKE_INTERRUPTED" ] || { mkdir "$3"; kill -TERM $PPID; exit 1; }
                 [ -z "$FAKE_NO_VENV" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"import cv2"*) [ -z "$FAKE_MISSING" ] || { echo "ImportError: $FAKE_MISSING: cannot open" >&2; exit 1; } ;;
    *"pip show"*) [ -n "$FAKE_OTHER" ] && [ "$5" = mxnet ] ;;
    *"import mxnet"*) [ -z "$FAKE_NO_DRIVER" ] || { echo "MXNetMissing: it needs libcuda.so.1" >&2; exit 1; } ;;
    *not_compiled*) echo "$FAKE_UNBUILT" ;;
    *"pip install --quiet"*) [ -z "$FAKE_NO_NETWORK" ] ;;
    *) echo "$*" ;;
esac
'''

pytestmark = pytest.mark.skipif(not shutil.which('bash'), reason='init.sh is a bash script')


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def init(tmp_path):
    """Runs init.sh; returns its exit status and all that it printed."""
    def run(version='3.11', gpus='', script=ROOT / 'init.sh', shell='bash', **settings):
        executable(tmp_path / 'nvidia-smi', "#!/bin/sh\nprintf '%s'\n" % gpus)
        python = executable(tmp_path / 'fake python', PYTHON)
        environment = dict(os.environ, PATH='%s:%s' % (tmp_path, os.environ['PATH']), VENV=str(tmp_path / 'venv'),
                           PYTHON=python, FAKE_VERSION=version)
        environment.pop('MXNET', None)
        done = subprocess.run([shell, str(script)], env=dict(environment, **settings), cwd=str(tmp_path),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout
    return run


def test_a_machine_without_a_gpu_gets_the_mxnet_for_the_cpu(init, tmp_path):
    status, output = init()
    assert status == 0
    assert 'installing mxnet, which computes on the CPU: nvidia-smi shows no NVIDIA GPU' in output
    assert '-m pip install --constraint constraints.txt --no-build-isolation --editable .[mxnet,zoo,dev]' in output
    assert '-m pip install --constraint constraints.txt --no-deps mxnet\n' in output
    assert (tmp_path / 'venv' / '.ready-auto').exists() and (tmp_path / 'venv' / '.built').exists()
    assert all((ROOT / folder).is_dir() for folder in ('data', 'output', 'model/pretrained_model'))


def test_a_name_that_is_no_python_is_told(init):
    status, output = init(PYTHON='/no/such/python')
    assert status == 1 and 'and PYTHON=/no/such/python is no Python. Install one' in output


@pytest.mark.skipif(not shutil.which('dash'), reason='a shell that knows less than bash is needed')
def test_called_by_another_shell_it_is_run_by_bash(init):
    status, output = init(shell='dash')
    assert status == 0 and 'installing mxnet, which computes on the CPU' in output


def test_a_gpu_that_the_wheel_has_code_for_gets_the_mxnet_for_cuda(init):
    status, output = init(gpus=r'NVIDIA H100, 9.0\nNVIDIA GeForce RTX 4090, 8.9\n')
    assert status == 0
    assert 'installing mxnet-cu112 and the CUDA 11 libraries that it needs, for NVIDIA GeForce RTX 4090' in output
    assert '.[mxnet-cu112,zoo,dev]' in output and '--no-deps mxnet-cu112\n' in output


def test_mxnet_for_cuda_is_installed_without_the_driver_where_it_was_asked_for(init, tmp_path):
    status, output = init(MXNET='mxnet-cu112', FAKE_NO_DRIVER='1')
    assert status == 0 and "note: NVIDIA's driver is not here (libcuda.so.1)" in output
    assert (tmp_path / 'venv' / '.ready-mxnet-cu112').exists()
    status, output = init(gpus=r'Tesla V100, 7.0\n', FAKE_NO_DRIVER='1')    # nvidia-smi works, so the driver should
    assert status == 1 and 'import mxnet fails: MXNetMissing: it needs libcuda.so.1' in output


def test_a_disk_that_is_too_full_is_told_before_anything_is_fetched(init, tmp_path):
    executable(tmp_path / 'df', '#!/bin/sh\necho Filesystem; echo "/dev/x 9 9 700 9% /"\n')
    status, output = init(MXNET='mxnet-cu112')
    assert status == 1 and 'pip install' not in output
    assert 'mxnet-cu112 with what belongs to it needs some' in output and 'and 700 MB are free. Make room' in output
    assert init(MXNET='mxnet', FAKE_OTHER='1')[0] == 0      # what is there already needs no room


@pytest.mark.parametrize('gpus', [r'NVIDIA H100, 9.0\n', r'NVIDIA B200, 10.0\n', r'Tesla K40, 3.5\n', r'GPU, [N/A]\n'])
def test_a_gpu_that_the_wheel_has_no_code_for_gets_the_mxnet_for_the_cpu(init, gpus):
    status, output = init(gpus=gpus)
    assert status == 0
    assert 'mxnet-cu112 has code for compute capability 5.0 to 8.9, and here is ' + gpus[:-2] in output
    assert '.[mxnet,zoo,dev]' in output


def test_the_mxnet_that_was_asked_for_replaces_the_other(init, tmp_path):
    init()
    status, output = init(MXNET='mxnet-cu112', FAKE_OTHER='1')
    assert status == 0
    assert 'installing mxnet-cu112, as asked' in output
    assert '-m pip uninstall --quiet --yes mxnet mxnet-cu112' in output
    assert [path.name for path in (tmp_path / 'venv').glob('.ready-*')] == ['.ready-mxnet-cu112']


def test_an_unknown_mxnet_is_refused(init):
    status, output = init(MXNET='mxnet-cu999')
    assert status == 1
    assert 'MXNET must be mxnet or mxnet-cu112, not mxnet-cu999' in output


@pytest.mark.parametrize('version', ['3.15', '3.7', '2.7'])
def test_another_python_is_refused_with_the_commands_that_bring_one(init, version):
    status, output = init(version=version)
    assert status == 1
    assert 'MXNet 1.9.1 runs here on Python 3.8 to 3.14, and PYTHON=' in output
    assert 'fake python is %s. Install one' % version in output
    for command in 'apt-get install python3.13 python3.13-venv', 'conda create -n rfcn python=3.13', 'pip install uv':
        assert command in output


@pytest.mark.parametrize('version', ['3.8', '3.13', '3.14'])
def test_the_pythons_from_3_8_to_3_14_are_taken(init, version):
    status, output = init(version=version)
    assert status == 0 and 'fake python (%s).' % version in output


@pytest.fixture
def pythons(init, tmp_path):
    """A function (versions, settings) -> status and output of init.sh where these and no others are installed."""
    def run(versions, **settings):
        for name in ['python', 'python3'] + ['python3.%d' % minor for minor in range(7, 16)]:
            own = name.replace('python', '') if name.replace('python', '') in versions else '3.6'
            executable(tmp_path / name, PYTHON.replace('"$FAKE_VERSION"', own))
        return init(PYTHON='', PYENV_ROOT=str(tmp_path), **settings)
    return run


def test_the_python_with_the_newest_packages_is_preferred(pythons):
    assert 'with python3.13 (3.13)' in pythons(['3.8', '3.11', '3.13', '3.14'])[1]


def test_where_no_python_fits_uv_brings_one(pythons, tmp_path):
    executable(tmp_path / 'uv', '#!/bin/sh\necho uv "$@"; mkdir -p "$6/bin"; cp "%s" "$6/bin/python"\n'
               % (tmp_path / 'fake python'))
    status, output = pythons([])
    assert status == 0 and 'uv venv --quiet --seed --python 3.13 ' in output and 'uv makes' in output
    executable(tmp_path / 'uv', '#!/bin/sh\nexit 2\n')
    status, output = pythons([], VENV=str(tmp_path / 'other'))
    assert status == 1 and 'uv could not get Python 3.13' in output


def test_without_a_network_it_is_said_what_to_do(init):
    status, output = init(FAKE_NO_NETWORK='1')
    assert status == 1 and 'If it tells of a connection: call this again with a network' in output


def test_a_project_that_cannot_be_written_is_told_before_anything_is_made(init, tmp_path):
    (tmp_path / 'project').mkdir()
    script = shutil.copy(str(ROOT / 'init.sh'), str(tmp_path / 'project'))
    (tmp_path / 'project').chmod(0o555)
    if os.access(str(tmp_path / 'project'), os.W_OK):
        pytest.skip('root may write everywhere')
    status, output = init(script=script)
    assert status == 1 and output.count('\n') == 1 and 'project cannot be written' in output
    assert not (tmp_path / 'venv').exists()


def test_a_link_to_it_sets_up_the_project_and_not_the_folder_of_the_link(init, tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'init.sh').symlink_to(ROOT / 'init.sh')
    assert init(script=tmp_path / 'bin' / 'init.sh')[0] == 0
    assert [path.name for path in (tmp_path / 'bin').iterdir()] == ['init.sh']


@pytest.mark.skipif(not shutil.which('flock'), reason='flock is not installed')
def test_a_second_call_waits_for_the_first(init, tmp_path):
    executable(tmp_path / 'flock', '#!/bin/sh\ncase $1 in -n) exec %s "$@";; *) echo waited;; esac\n'
               % shutil.which('flock'))
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)      # as the first one holds it
        status, output = init()
    finally:
        os.close(folder)
    assert status == 0
    assert output.index('another init.sh is at work here') < output.index('waited') < output.index('pip install')


def test_no_home_is_needed(init, monkeypatch):
    monkeypatch.delenv('HOME')
    assert init()[0] == 0


def test_a_virtual_environment_of_another_python_is_refused(init):
    init()
    status, output = init(version='3.15')
    assert status == 1
    assert 'holds no Python 3.8 to 3.14 with pip: delete that folder' in output


def test_what_a_call_that_was_interrupted_before_pip_left_is_refused(init):
    assert init()[0] == 0
    status, output = init(FAKE_NO_PIP='1')
    assert status == 1 and 'holds no Python 3.8 to 3.14 with pip: delete that folder' in output


@pytest.mark.parametrize('no_venv', ['', '1'])
def test_a_folder_of_other_things_is_left_alone(init, tmp_path, no_venv):
    (tmp_path / 'venv').mkdir()
    (tmp_path / 'venv' / 'mine.txt').write_text('mine')
    status, output = init(FAKE_NO_VENV=no_venv)
    assert status == 1 and 'venv is there and is no environment: choose another with VENV=' in output
    assert [path.name for path in (tmp_path / 'venv').iterdir()] == ['mine.txt']


def test_an_environment_that_could_not_be_completed_stays_and_a_new_one_does_not(init, tmp_path):
    status, output = init(FAKE_NO_VENV='1')
    assert status == 1 and 'fake python could not make' in output and 'python3.11-venv' in output
    assert not (tmp_path / 'venv').exists()
    (tmp_path / 'venv').mkdir()
    (tmp_path / 'venv' / 'pyvenv.cfg').touch()
    assert init(FAKE_NO_VENV='1')[0] == 1 and (tmp_path / 'venv' / 'pyvenv.cfg').exists()
    assert init()[0] == 0


def test_an_environment_whose_making_is_interrupted_is_removed_and_the_next_call_makes_it(init, tmp_path):
    assert init(FAKE_INTERRUPTED='1')[0] == -signal.SIGTERM
    assert not (tmp_path / 'venv').exists()
    assert init()[0] == 0


@pytest.mark.parametrize('library, package', [('libGL.so.1', 'libgl1'), ('libgthread-2.0.so.0', 'libglib2.0-0')])
def test_a_missing_system_library_is_named_with_its_package(init, tmp_path, library, package):
    status, output = init(FAKE_MISSING=library)
    assert status == 1
    assert 'import cv2 fails: ImportError: %s: cannot open' % library in output
    assert 'apt-get install %s' % package in output
    assert not list((tmp_path / 'venv').glob('.ready-*'))


def test_a_library_that_could_not_be_compiled_is_named(init, tmp_path):
    status, output = init(FAKE_UNBUILT='lib.nms.cpu_nms')
    assert status == 0
    assert 'not compiled: lib.nms.cpu_nms. NumPy or MXNet does their work' in output and 'make build' in output
    assert not (tmp_path / 'venv' / '.built').exists()
