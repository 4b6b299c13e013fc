"""Whether MXNet's convolutions use AMX."""
import os
import subprocess
import sys

import pytest

from rfcn import _amx

AMX_FLAGS = 'amx_tile amx_int8 amx_bf16'
CONVOLVE = '''
import rfcn, mxnet as mx
from rfcn.core.precision import with_bf16_convolutions
layer = mx.sym.Convolution(mx.sym.Variable('data'), num_filter=32, kernel=(3, 3), no_bias=True, name='layer')
executor = with_bf16_convolutions(layer).simple_bind(mx.cpu(), data=(1, 32, 16, 16), grad_req='null')
for value in executor.arg_arrays:
    value[:] = 1
print(float(executor.forward()[0].asnumpy().min()))
'''


@pytest.mark.parametrize('text, expected', [('flags\t\t: fpu %s sse\n' % AMX_FLAGS, True),
                                            ('flags\t\t: amx_tile\nbugs\t\t: amx_int8 amx_bf16\n', False), ('', False)])
def test_all_three_parts_are_looked_for_among_the_flags(tmp_path, text, expected):
    (tmp_path / 'cpuinfo').write_text('processor\t: 0\n' + text)
    assert _amx.has_amx(str(tmp_path / 'cpuinfo')) is expected


def test_a_system_that_does_not_say_has_none(tmp_path):
    assert not _amx.has_amx(str(tmp_path / 'gone'))


@pytest.mark.parametrize('has, permitted, limit, expected', [
    (True, True, None, True), (True, True, 'AVX512_CORE_BF16', False), (True, True, 'AVX512_CORE_AMX', True),
    (True, False, None, False), (False, True, None, False)])
def test_it_is_used_where_there_is_one_the_system_permits_it_and_the_user_does_not_forbid_it(
        monkeypatch, has, permitted, limit, expected):
    monkeypatch.setattr(_amx, 'has_amx', lambda: has)
    monkeypatch.setattr(_amx, 'ask_for_amx', lambda: permitted)
    monkeypatch.setenv(_amx.LIMIT, limit or '')
    if limit is None:
        monkeypatch.delenv(_amx.LIMIT)
    assert _amx.use_amx() is expected
    assert os.environ.get(_amx.LIMIT) == (limit or (_amx.AMX if expected else None))
    monkeypatch.setenv(_amx.LIMIT, '')  # so that monkeypatch takes away what use_amx has set


def test_another_system_than_linux_is_not_asked(monkeypatch):
    def no_library(name):
        raise OSError('no such library')
    monkeypatch.setattr(_amx.ctypes, 'CDLL', no_library)
    assert not _amx.ask_for_amx()


@pytest.mark.skipif(not _amx.has_amx(), reason='this CPU has no AMX')
def test_a_convolution_on_a_cpu_with_amx_uses_it_and_is_not_ended_by_the_system():
    environment = {name: value for name, value in os.environ.items() if name != _amx.LIMIT}
    found = subprocess.run([sys.executable, '-W', 'ignore', '-c', CONVOLVE], stdout=subprocess.PIPE, check=True,
                           env=dict(environment, DNNL_VERBOSE='1', PYTHONPATH=os.pathsep.join(sys.path)))
    *verbose, result = found.stdout.decode().splitlines()
    assert float(result) == 9 * 32  # a sum of ones
    assert any('convolution' in line and 'amx' in line for line in verbose) is _amx.ask_for_amx()
