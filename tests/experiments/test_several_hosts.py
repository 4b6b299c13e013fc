"""The arithmetic of several hosts, with the numbers written out."""
import json

import pytest

from experiments import several_hosts
from experiments.rows.table import find_row
from experiments.several_hosts import Cluster, busiest_link, gradient_bytes, hours, server_bytes, step_seconds
from lib.errors import ConfigError
from rfcn.config.config import load_config


@pytest.mark.parametrize('hosts, servers, expected', [
    (1, 1, 0),          # nobody to talk to
    (2, 1, 100),        # the worker beside no server sends 100 and receives 100, as does the host of the server
    (4, 1, 300),        # the host of the server receives from 3 other workers
    (4, 2, 200),        # a host with a server: 50 to the other server, 3 x 50 to the other workers
    (4, 4, 150),        # 3 x 25 to the other servers, 3 x 25 to the other workers
    (5, 4, 175),        # 3 x 25 and 4 x 25; the host without a server sends 100
])
def test_the_busiest_link_carries(hosts, servers, expected):
    assert busiest_link(Cluster(hosts, servers, 1, 0), 100) == expected


def test_a_server_receives_and_sends_its_share_of_the_gradient_of_every_worker():
    assert server_bytes(Cluster(4, 2, 1, 0), 100) == 400
    assert server_bytes(Cluster(1, 1, 1, 0), 100) == 0


def test_talking_that_goes_on_beside_half_of_the_computing_costs_cores_alone_and_the_rest_is_waited_for():
    # 2 hosts, one server: 100 bytes at 200 a second are 0.5 s, 400 of the server at 2000 a second 0.2 s, twice 0.05 s;
    # the host of the server handles these 400 and 200 of its worker: 0.3 s of one of its 3 cores
    cluster = Cluster(2, 1, bandwidth=200, latency=0.05, cores=3, handling=2000)
    assert step_seconds(cluster, 2.0, 100) == pytest.approx(2.1)    # 0.8 s beside 1 s
    assert step_seconds(cluster, 1.0, 100) == pytest.approx(1.4)    # 0.8 s beside 0.5 s
    assert step_seconds(cluster._replace(hosts=1), 1.0, 100) == 1.0


def test_hours_are_steps_of_all_hosts_together():
    cluster = Cluster(2, 1, bandwidth=200, latency=0.05, cores=3, handling=2000)
    # 7200 images, 2 a worker: 1800 steps of 1.4 s
    assert hours(cluster, 1.0, 100, 7200, images_of_worker=2) == pytest.approx(1800 * 1.4 / 3600)


def test_the_curve_bends_where_one_server_has_too_much_to_carry_and_not_with_a_server_a_host():
    one, each = ([step_seconds(Cluster(n, n if many else 1, 1e9, 0, cores=100, handling=2e9), 1.0, 2e8)
                  for n in (1, 2, 4, 8, 64)] for many in (False, True))
    # talking is (n - 1) x 0.2 s of link and n x 0.2 s of the server: 0.6, 1.4, 3.0 and 25.4 s, beside 0.5 s;
    # handling (n + 1) x 0.2 / 100 s
    assert one == pytest.approx([1.0, 1.106, 1.910, 3.518, 26.03])
    # 2 x (n - 1) / n x 0.2 s and 0.2 s: 0.4, 0.5, 0.55 and 0.594 s; handling 0.004 s
    assert each == pytest.approx([1.0, 1.004, 1.004, 1.054, 1.09775])


def benchmark_rows():
    """Of a machine with 2 cores. A gradient has 100 MB."""
    rows = [dict(who='one process', workers=1, **{'step, s': 2.0}),
            dict(who='2 apart', workers=2, **{'step, s': 2.0}), dict(who='2 workers', workers=2, **{'step, s': 2.2}),
            dict(who='2 workers at 1 Gbit/s', workers=2, gbit=1, latency=0.0, **{'step, s': 2.5}),
            dict(who='3 apart', workers=3, **{'step, s': 3.0}), dict(who='3 workers', workers=3, **{'step, s': 3.5})]
    return dict(workers=[dict(row, precision='fp32', cores=2, **{'gradient MB': 100.0}) for row in rows])


def test_the_check_computes_the_measured_steps_from_two_workers_without_a_link(tmp_path, capsys):
    (tmp_path / 'benchmark.json').write_text(json.dumps(benchmark_rows()))
    several_hosts.main(['--check', str(tmp_path / 'benchmark.json')])
    lines = capsys.readouterr().out.splitlines()
    # 4 x 2 gradients took 0.2 s of two cores: 2e9 bytes a second.
    # 1 Gbit/s: 0.8 s of link and 0.2 s of server fit beside 1 s; the host of the server handles 6 gradients: 0.3 s
    assert lines[2] == '| fp32 | 2 | 1 Gbit/s | 2.50 | 2.30 | -8 % |'
    # three workers share two cores, which handle 12 gradients in 0.3 s
    assert lines[3] == '| fp32 | 3 | none | 3.50 | 3.30 | -6 % |'
    assert lines[4].endswith('HANDLING is 2e+09 bytes a second') and len(lines) == 5


@pytest.mark.parametrize('text, told', [
    ('{"infer": []}', 'found infer'), ('{', 'expected benchmark.json'), ('[1]', 'expected benchmark.json')])
def test_a_file_without_measurements_of_workers_is_refused(tmp_path, text, told):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ConfigError, match=told):
        several_hosts.main(['--check', str(tmp_path / 'x.json')])


def test_bytes_of_a_gradient_are_those_of_the_trained_parameters_alone():
    cfg = load_config(find_row('demo').cfg_path)     # nothing is fixed by name
    fixed = load_config(find_row('demo').cfg_path, ['network.FIXED_PARAMS=[conv_new_1]'])
    # conv_new_1: 128 channels of 192, 1 x 1, and their biases
    assert gradient_bytes(cfg) - gradient_bytes(fixed) == 4 * (128 * 192 + 128)


def test_the_table_has_a_line_for_each_number_of_hosts(capsys):
    name = 'resnet_v1_101_voc0712_rfcn_end2end_ohem'
    several_hosts.main([name, '--seconds', '2', '--cores', '2', '--host-cores', '4', '--handling', '2e9',
                        '--hosts', '1', '4'])
    printed = capsys.readouterr().out.splitlines()
    # 231,728 images, 1 s each on 4 cores: 64.4 h. Four hosts: 16.1 h. 201.9 MB a worker are 0.101 s at 2 GB/s.
    # One server of 10 Gbit/s: 3 x 0.162 s of link and 8 x 0.101 s, of which 0.5 s go on beside computing; its host
    # handles 10 gradients, 1.01 s of 4 cores. A server a host: 4 gradients, and 0.445 s of talking fit beside.
    assert printed[0] == name + ': 231728 images, 201.9 MB a step and direction of a worker, 1.00 s of computing'
    assert printed[3] == '| 1 | 1 | 1.00 / 64.4 | 1.00 / 64.4 | 1.00 |'
    assert printed[4] == '| 4 | 4 | 2.04 / 32.9 | 1.10 / 17.7 | 0.91 |'


def test_what_cannot_be_computed_is_said(capsys):
    machine = ['--cores', '2', '--host-cores', '2']
    with pytest.raises(ConfigError, match='not trained end to end'):
        several_hosts.main(['paper_voc07_rfcn', '--seconds', '1'] + machine)
    with pytest.raises(SystemExit):
        several_hosts.main(['demo', '--seconds', '0'] + machine)
    assert "--seconds: expected a number above 0, not '0'" in capsys.readouterr().err
