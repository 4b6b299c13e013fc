"""The arithmetic of several hosts, with the numbers written out."""
import pytest

from experiments import several_hosts
from experiments.rows.table import find_row
from experiments.several_hosts import (
    Cluster,
    busiest_link,
    gradient_bytes,
    hours,
    most_hosts,
    server_bytes,
    step_seconds,
)
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


def test_a_server_adds_up_its_share_of_the_gradient_of_every_worker():
    assert server_bytes(Cluster(4, 2, 1, 0), 100) == 200
    assert server_bytes(Cluster(1, 1, 1, 0), 100) == 0


def test_talking_that_goes_on_beside_half_of_the_computing_costs_nothing_and_the_rest_is_waited_for():
    # 2 hosts, one server: 100 bytes at 200 a second are 0.5 s, 200 bytes added at 1000 a second 0.2 s, twice 0.05 s
    cluster = Cluster(2, 1, bandwidth=200, latency=0.05, adding=1000)
    assert step_seconds(cluster, 2.0, 100) == 2.0           # 0.8 s beside 1 s
    assert step_seconds(cluster, 1.0, 100) == pytest.approx(1.3)    # 0.8 s beside 0.5 s
    assert step_seconds(cluster._replace(hosts=1), 1.0, 100) == 1.0


def test_hours_are_steps_of_all_hosts_together():
    cluster = Cluster(2, 1, bandwidth=200, latency=0.05, adding=1000)
    # 7200 images, 2 a worker: 1800 steps of 1.3 s
    assert hours(cluster, 1.0, 100, 7200, images_of_worker=2) == pytest.approx(1800 * 1.3 / 3600)


def test_the_curve_bends_where_one_server_has_too_much_to_carry_and_not_with_a_server_a_host():
    one = [step_seconds(Cluster(n, 1, 1e9, 0), 1.0, 2e8) for n in (1, 2, 4, 8)]
    # (n - 1) x 0.2 s of link and n x 0.1 s of adding, beside 0.5 s: 0.4, 1.0 and 2.2 s
    assert one == pytest.approx([1.0, 1.0, 1.5, 2.7])
    # 2 x (n - 1) / n x 0.2 s and 0.1 s never exceed 0.5 s
    assert most_hosts(Cluster(1, 1, 1e9, 0), 1.0, 2e8) == 1024
    # beside 0.2 s of 0.4: 2 x 1 / 2 x 0.2 s and 0.1 s are too much already
    assert most_hosts(Cluster(1, 1, 1e9, 0), 0.4, 2e8) == 1


def test_bytes_of_a_gradient_are_those_of_the_trained_parameters_alone():
    cfg = load_config(find_row('demo').cfg_path)     # nothing is fixed by name
    fixed = load_config(find_row('demo').cfg_path, ['network.FIXED_PARAMS=[conv_new_1]'])
    # conv_new_1: 128 channels of 192, 1 x 1, and their biases
    assert gradient_bytes(cfg) - gradient_bytes(fixed) == 4 * (128 * 192 + 128)


def test_the_table_has_a_line_for_each_number_of_hosts(capsys):
    name = 'resnet_v1_101_voc0712_rfcn_end2end_ohem'
    several_hosts.main([name, '--seconds', '2', '--cores', '2', '--host-cores', '4', '--hosts', '1', '4'])
    printed = capsys.readouterr().out.splitlines()
    # 231,728 images, 1 s each on 4 cores: 64.4 h. Four hosts: 16.1 h; one server of 10 Gbit/s and 201.9 MB a worker
    # needs 3 x 0.16 s and 4 x 0.10 s, of which 0.5 s go on beside computing: 1.39 s a step
    assert printed[0] == name + ': 231728 images, 201.9 MB a step and direction of a worker, 1.00 s of computing'
    assert printed[3] == '| 1 | 1 | 1.00 / 64.4 | 1.00 / 64.4 | 1.00 |'
    assert printed[4] == '| 4 | 4 | 1.39 / 22.3 | 1.00 / 16.1 | 1.00 |'


@pytest.mark.parametrize('words, told', [(['demo', '--seconds', '0'], 'above 0'),
                                         (['paper_voc07_rfcn', '--seconds', '1'], 'not trained end to end')])
def test_what_cannot_be_computed_is_said(words, told):
    with pytest.raises(ConfigError, match=told):
        several_hosts.main(words + ['--cores', '2', '--host-cores', '2'])
