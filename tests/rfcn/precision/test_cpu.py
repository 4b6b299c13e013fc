"""What MXNet is told of the CPU, by environment variables."""
import os
import subprocess
import sys

import pytest

from lib.errors import ConfigError
from rfcn.precision import cpu
from rfcn.precision.cpu import check_device
from tests.conftest import ROOT

AMX_FLAGS = 'amx_tile amx_int8 amx_bf16'
CONVOLVE = '''
import rfcn, mxnet as mx
from rfcn.precision.bf16 import with_bf16_convolutions
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
    assert cpu.has_amx(str(tmp_path / 'cpuinfo')) is expected


def test_a_system_that_does_not_say_has_none(tmp_path):
    assert not cpu.has_amx(str(tmp_path / 'gone'))


def environment_after(monkeypatch, **given):
    """The four variables after `prepare` in an environment that has none of them but those given."""
    names = (cpu.ISA_LIMIT, cpu.THREADS, cpu.PREPARED_LAYERS, cpu.WORKING_MEMORIES)
    monkeypatch.setattr(os, 'environ', dict(given))
    cpu.prepare()
    return [os.environ.get(name) for name in names]


@pytest.mark.parametrize('has, permitted, limit, expected, used', [
    (True, True, None, 'AVX512_CORE_AMX', True), (True, True, 'AVX512_CORE_BF16', 'AVX512_CORE_BF16', False),
    (True, True, 'AVX512_CORE_AMX', 'AVX512_CORE_AMX', True), (True, False, None, None, False),
    (False, True, None, None, False)])
def test_amx_is_used_where_there_is_one_the_system_permits_it_and_the_user_does_not_forbid_it(
        monkeypatch, has, permitted, limit, expected, used):
    monkeypatch.setattr(cpu, 'has_amx', lambda: has)
    monkeypatch.setattr(cpu, 'ask_for_amx', lambda: permitted)
    assert environment_after(monkeypatch, **({cpu.ISA_LIMIT: limit} if limit else {}))[0] == expected
    assert cpu.uses_amx() is used


@pytest.mark.parametrize('given, expected', [
    ({}, '5'), ({'OMP_NUM_THREADS': '3'}, None), ({'MXNET_OMP_MAX_THREADS': '7'}, '7')])
def test_mxnet_gets_a_thread_for_each_core_unless_the_user_says_otherwise(monkeypatch, given, expected):
    monkeypatch.setattr(cpu, 'cores', lambda: 5)
    assert environment_after(monkeypatch, **given)[1] == expected


@pytest.mark.parametrize('given, expected', [({}, ['0', '1']), ({'MXNET_MKLDNN_CACHE_NUM': '7'}, ['7', '1']),
                                             ({'MXNET_CPU_TEMP_COPY': '4'}, ['0', '4'])])
def test_prepared_layers_and_working_memory_are_bounded_unless_the_user_says_otherwise(monkeypatch, given, expected):
    assert environment_after(monkeypatch, **given)[2:] == expected


def test_the_environment_is_ready_before_mxnet_is_imported():
    code = 'import os, rfcn, sys; assert "mxnet" not in sys.modules; print(os.environ["MXNET_MKLDNN_CACHE_NUM"])'
    environment = {name: value for name, value in os.environ.items() if name != cpu.PREPARED_LAYERS}
    output = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), env=environment, check=True,
                            stdout=subprocess.PIPE).stdout
    assert output.decode().strip() == '0'


@pytest.fixture
def topology(tmp_path, monkeypatch):
    """A function (text of thread_siblings_list of processor 0, 1, ...) -> pattern of the files."""
    def write(*siblings):
        for number, text in enumerate(siblings):
            (tmp_path / ('cpu%d' % number)).write_text(text)
        monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(len(siblings))), raising=False)
        return str(tmp_path / 'cpu%d')
    return write


def test_hyper_threads_of_a_core_count_once(topology, monkeypatch):
    monkeypatch.setattr(cpu, 'quota', lambda: None)
    assert cpu.cores(topology('0,2\n', '1,3\n', '0,2\n', '1,3\n')) == 2
    assert cpu.cores(topology('0\n', '1\n', '2\n')) == 3


@pytest.mark.parametrize('texts, expected', [
    (['max 100000\n'], None), (['200000 100000\n'], 2), (['150000 100000\n'], 2), (['20000 100000\n'], 1),
    (['-1\n', '100000\n'], None), (['300000\n', '100000\n'], 3), (['rubbish\n'], None)])
def test_the_limit_of_a_container_is_read_from_both_kinds_of_cgroup(tmp_path, texts, expected):
    paths = [tmp_path / str(number) for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    assert cpu.quota([[str(tmp_path / 'gone')], [str(path) for path in paths]]) == expected


@pytest.mark.parametrize('limit, expected', [(2, 2), (8, 3), (None, 3)])
def test_a_container_gets_no_more_cores_than_its_limit(topology, monkeypatch, limit, expected):
    monkeypatch.setattr(cpu, 'quota', lambda: limit)
    assert cpu.cores(topology('0\n', '1\n', '2\n')) == expected


def test_a_system_that_does_not_say_gets_no_number(topology, tmp_path, monkeypatch):
    topology('0\n')
    assert cpu.cores(str(tmp_path / 'gone%d')) is None
    monkeypatch.delattr(os, 'sched_getaffinity')
    assert cpu.cores() is None


def test_another_system_than_linux_is_not_asked(monkeypatch):
    def no_library(name):
        raise OSError('no such library')
    monkeypatch.setattr(cpu.ctypes, 'CDLL', no_library)
    assert not cpu.ask_for_amx()


@pytest.mark.skipif(not cpu.has_amx(), reason='this CPU has no AMX')
def test_a_convolution_on_a_cpu_with_amx_uses_it_and_is_not_ended_by_the_system():
    environment = {name: value for name, value in os.environ.items() if name != cpu.ISA_LIMIT}
    found = subprocess.run([sys.executable, '-W', 'ignore', '-c', CONVOLVE], stdout=subprocess.PIPE, check=True,
                           env=dict(environment, DNNL_VERBOSE='1', PYTHONPATH=os.pathsep.join(sys.path)))
    *verbose, result = found.stdout.decode().splitlines()
    assert float(result) == 9 * 32  # a sum of ones
    assert any('convolution' in line and 'amx' in line for line in verbose) is cpu.ask_for_amx()


@pytest.mark.parametrize('phase, name', [('TRAIN', 'bf16'), ('TEST', 'bf16'), ('TEST', 'int8')])
def test_what_only_cpus_compute_is_refused_on_a_gpu(tiny_cfg, phase, name):
    fault = "%s.PRECISION: %s runs on the CPU alone; write fp32, or gpus: ''" % (phase, name)
    with pytest.raises(ConfigError, match=fault):
        check_device(tiny_cfg('gpus=0', '%s.PRECISION=%s' % (phase, name)), phase)
    check_device(tiny_cfg('gpus=0'), phase)
