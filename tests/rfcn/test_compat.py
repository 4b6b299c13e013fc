"""NumPy's removed names, MXNet where it is missing, the CUDA libraries, the package `lib`."""
import builtins
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rfcn
from lib.errors import UserError
from rfcn import _compat, cli
from rfcn._compat import FINANCIAL, RENAMED, SAME, add_removed_names, needing_mxnet
from rfcn.cli.commands import Command

ROOT = Path(__file__).resolve().parents[2]
BEFORE_NUMPY_2 = int(np.__version__.partition('.')[0]) < 2


@pytest.mark.parametrize('name', ['bool', 'object', 'int', 'float'])
def test_the_names_of_pythons_own_types_are_there_and_warn_of_nothing(name, recwarn):
    own = np.bool_ if name == 'bool' and not BEFORE_NUMPY_2 else getattr(builtins, name)
    assert getattr(np, name) is own
    assert not recwarn.list


def test_a_numpy_without_the_names_gets_all_of_them():
    bare = {name: getattr(np, name) for name in ('float64', 'complex128', 'str_', 'bytes_', 'prod', 'cumprod', 'any',
                                                 'all', 'isin', 'vstack', 'round')}
    bare['trapezoid'] = lambda y: sum(y[1:] + y[:-1]) / 2
    add_removed_names(bare)
    assert set(SAME) | set(RENAMED) | set(FINANCIAL) <= set(bare)
    assert bare['PINF'] == float('inf') == -bare['NINF'] and bare['NaN'] != bare['NaN'] and bare['float_'] is np.float64
    assert bare['product']([2, 3]) == 6 and bare['in1d']([1, 2], [2]).tolist() == [False, True]
    assert bare['trapz'](np.array([1, 3])) == 2 and bare['bool'] is bool
    np.testing.assert_array_equal(bare['msort']([[2, 1], [1, 2]]), [[1, 1], [2, 2]])
    with pytest.raises(NotImplementedError, match='NumPy has no npv any more: the package numpy-financial has it'):
        bare['npv'](0.1, [1])


def test_what_numpy_has_is_not_replaced():
    own = dict(bool='own', trapz='own', npv='own', Inf='own')
    add_removed_names(own)
    assert (own['bool'], own['trapz'], own['npv'], own['Inf']) == ('own', 'own', 'own', 'own')


def test_importing_the_project_and_mxnet_prints_no_warning():
    done = subprocess.run([sys.executable, '-c', 'import rfcn, mxnet'], cwd=str(ROOT), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, b'')


@pytest.mark.parametrize('raised', [
    ValueError('numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88'),
    ImportError('numpy.core.multiarray failed to import'),
])
def test_packages_that_were_made_for_another_numpy_are_one_sentence_with_the_remedy(raised):
    with pytest.raises(UserError, match='NumPy %s, .*pip install .* numpy$' % np.__version__), needing_mxnet():
        raise raised


@pytest.mark.parametrize('raised', [ValueError('a value'), ImportError('a name')])
def test_other_errors_of_an_import_stay_as_they_are(raised):
    with pytest.raises(type(raised), match='^a ') as caught, needing_mxnet():
        raise raised
    assert not isinstance(caught.value, UserError)


def test_a_missing_mxnet_is_one_sentence_with_the_remedy(monkeypatch):
    absent = ModuleNotFoundError("No module named 'mxnet'", name='mxnet')
    requests = ModuleNotFoundError("No module named 'requests'", name='requests')
    for raised, told in ((absent, 'MXNet is not installed in this Python: call make build'),
                         (requests, 'MXNet needs the package requests, .*: pip install requests graphviz'),
                         (OSError('libcuda.so.1: cannot open shared object file'), "libcuda.so.1.*NVIDIA's driver"),
                         *((OSError('%s: cannot open' % name), name + '.*make build MXNET=mxnet-cu112')
                           for name in ('libcudnn.so.8', 'libnccl.so.2', 'libnvrtc.so.11.2', 'libnvToolsExt.so.1'))):
        with pytest.raises(UserError, match=told) as caught, needing_mxnet():
            raise raised
        assert isinstance(caught.value, ImportError)
    with pytest.raises(OSError, match='libgomp') as caught, needing_mxnet():     # none of NVIDIA's
        raise OSError('libgomp.so.1: cannot open')
    assert not isinstance(caught.value, UserError)
    monkeypatch.setitem(cli.COMMANDS, 'broken', Command('rfcn.no_such_module:main', '', ''))
    with pytest.raises(ModuleNotFoundError, match='rfcn.no_such_module'):    # a fault of ours is told as one
        cli.function_of('broken')


def test_without_mxnet_the_project_can_be_imported_and_says_what_is_missing():
    code = ('import sys; sys.modules["mxnet"] = None; import rfcn, lib.nms.nms; print(rfcn.__version__)\n'
            'try: rfcn.Detector\n'
            'except ImportError as error: print(error)')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.PIPE, text=True)
    version, sentence = done.stdout.splitlines()
    assert version.count('.') == 2 and sentence.startswith('MXNet is not installed in this Python: call make build')


def test_cuda_libraries_are_loaded_by_their_full_paths_in_the_order_of_their_needs(tmp_path, monkeypatch):
    for name in 'cublas/lib/libcublas.so.11', 'cublas/lib/libcublasLt.so.11', 'cudnn/lib/libcudnn.so.8', 'x/other.so':
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    loaded = []
    monkeypatch.setattr(_compat.ctypes, 'CDLL', loaded.append)
    _compat.load_cuda([tmp_path / 'nowhere', tmp_path])
    assert loaded == [str(tmp_path / name) for name in ('cublas/lib/libcublasLt.so.11', 'cublas/lib/libcublas.so.11',
                                                        'cudnn/lib/libcudnn.so.8')]
    assert _compat.is_installed('pytest') and not _compat.is_installed('no-such-package-of-anybody')


def test_another_package_called_lib_is_refused_with_the_remedy(tmp_path):
    (tmp_path / '__init__.py').touch()
    assert rfcn.use_own_lib(ROOT / 'lib') is None       # the one that is loaded
    with pytest.raises(ImportError, match=r'needs the package lib beside it, but .*lib is loaded.*pip install'):
        rfcn.use_own_lib(tmp_path)


def test_a_file_called_lib_py_that_was_loaded_before_is_refused_too(tmp_path):
    (tmp_path / 'lib.py').touch()
    done = subprocess.run([sys.executable, '-c', 'import lib, rfcn'], cwd=str(tmp_path), env={'PYTHONPATH': str(ROOT)},
                          stderr=subprocess.PIPE, text=True)
    assert done.stderr.splitlines()[-1].startswith('ImportError: rfcn in the folder') and 'lib.py is' in done.stderr


def test_a_folder_called_lib_in_the_current_one_does_not_get_in_the_way(tmp_path):
    (tmp_path / 'lib').mkdir()
    (tmp_path / 'lib' / '__init__.py').write_text('raise SystemExit("the wrong one")')
    code = 'import rfcn, lib; print(lib.__file__)'
    done = subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), env={'PYTHONPATH': str(ROOT)},
                          stdout=subprocess.PIPE, text=True)
    assert done.stdout == str(ROOT / 'lib' / '__init__.py') + '\n'
