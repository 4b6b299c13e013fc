"""Hosts, who runs where, and what each process is told."""
import os
import socket

import numpy as np
import pytest

from lib.errors import ConfigError, UserError
from rfcn.cli import main
from rfcn.core.workers import rank_of
from rfcn.evaluate import packed, share_of, unpacked
from rfcn.launching import agent, roles
from rfcn.launching.hosts import assign_processes, local_host, read_hosts, remote_command, variables_of
from rfcn.launching.roles import NEEDED, check_environment, hold_port


@pytest.fixture
def hosts_file(tmp_path):
    """A function (text) -> path of a file of hosts."""
    def write(text):
        (tmp_path / 'hosts').write_text(text)
        return str(tmp_path / 'hosts')
    return write


def test_a_line_names_a_host_with_its_slots_folder_python_address_and_variables(hosts_file):
    host, other = read_hosts(hosts_file('# comment\nme@b slots=2 path=/p python=/v/python address=10.0.0.2 A_B=c\n\n'
                                        '10.0.0.3\n'))
    assert host == ('me@b', 2, '/p', '/v/python', '10.0.0.2', {'A_B': 'c'})
    assert other.slots == 1 and other.path == os.getcwd() and other.address == '10.0.0.3'


def test_a_name_that_is_given_as_the_address_is_looked_up(hosts_file):
    host, = read_hosts(hosts_file('b address=localhost\n'))
    assert host.address == '127.0.0.1'


def test_comments_end_a_line_and_quotes_hold_spaces_together(hosts_file):
    host, = read_hosts(hosts_file('b address=10.0.0.2 "path=/my folder" slots=2 # the second room\n   # nobody\n'))
    assert host[:3] == ('b', 2, '/my folder') and host.address == '10.0.0.2'


def test_ssh_gets_words_for_its_shell_and_others_get_them_as_they_are(hosts_file):
    host, = read_hosts(hosts_file('b address=10.0.0.2 "path=/my folder" python=/v/python\n'))
    agent_file = '/my folder/rfcn/launching/agent.py'
    assert remote_command(['/usr/bin/ssh', '-q'], host) == ['/usr/bin/ssh', '-q', 'b', '/v/python', "'%s'" % agent_file]
    assert remote_command(['ip', 'netns', 'exec'], host) == ['ip', 'netns', 'exec', 'b', '/v/python', agent_file]


def test_a_file_of_hosts_that_is_no_text_is_refused(tmp_path):
    (tmp_path / 'hosts').write_bytes(b'\xff\xfe')
    with pytest.raises(ConfigError, match='expected a text file with a line for each host'):
        read_hosts(str(tmp_path / 'hosts'))


@pytest.mark.parametrize('text, message', [
    ('a \'path=/x', 'line 1: quotes do not come in pairs'),
    ('a slots=\u00b2 address=1.1.1.1', 'slots must be a number'),
    ('', 'expected a line for each host, found none'), ('a slots=0 address=1.1.1.1', 'line 1: slots must be a number'),
    ('a slot', 'line 1: expected slots=N, path=DIR'), ('a slotz=2 address=1.1.1.1', 'line 1: unknown key slotz'),
    ('no.such.host.invalid', 'line 1: the address of no.such.host.invalid is not known here'),
    ('a address=10.0.0.300', 'line 1: the address of 10.0.0.300 is not known here'),
    ('a..b', r'line 1: the address of a\.\.b is not known here'), ('x' * 64, 'line 1: the address of x+ is not known'),
    ('a slots=1025 address=1.1.1.1', 'slots must be a number from 1 to 1024, not 1025'),
    ('a slots=%s address=1.1.1.1' % ('9' * 5000), 'slots must be a number from 1 to 1024, not 9{20}$'),
    ('-oProxyCommand=x address=1.1.1.1', 'line 1: expected the name of a host, found -oProxyCommand=x'),
    ('a address=1.1.1.1 PATH=\0', 'it holds null bytes'),
    ('a address=1.1.1.1\na address=1.1.1.1', 'a host is named twice'),
    ('a address=1.1.1.1\nlocalhost', r'the other hosts cannot reach localhost at 127\.0\.0\.1, .*: write address=IP')])
def test_a_wrong_line_is_named(hosts_file, text, message):
    with pytest.raises(ConfigError, match=message):
        read_hosts(hosts_file(text))


def test_workers_fill_the_hosts_and_servers_take_turns(hosts_file):
    hosts = read_hosts(hosts_file('a slots=2 address=10.0.0.1\nb slots=2 address=10.0.0.2\nc address=10.0.0.3\n'))
    placed = [(process.name, process.host.name) for process in assign_processes(hosts, workers=3, servers=3)]
    assert placed == [('scheduler', 'a'), ('server 0', 'a'), ('server 1', 'b'), ('server 2', 'a'), ('worker 0', 'a'),
                      ('worker 1', 'a'), ('worker 2', 'b')]
    with pytest.raises(ConfigError, match='6 workers do not fit into the 5 slots'):
        assign_processes(hosts, workers=6, servers=1)


def test_a_worker_is_told_its_role_its_number_and_where_the_scheduler_is():
    *_, worker = assign_processes([local_host(2)], workers=2, servers=1)
    assert variables_of(worker, '127.0.0.1', 9000, 2, 1) == {
        'DMLC_ROLE': 'worker', 'DMLC_PS_ROOT_URI': '127.0.0.1', 'DMLC_PS_ROOT_PORT': '9000', 'DMLC_NUM_WORKER': '2',
        'DMLC_NUM_SERVER': '1', 'DMLC_NODE_HOST': '127.0.0.1', 'DMLC_WORKER_ID': '1'}


def test_the_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {8, 9, 10, 11, 12})
    monkeypatch.setattr(agent, 'TOPOLOGY', '/no/such/file/%d')  # each processor is a core of its own
    shares = [agent.share_of_cores(i, 2) for i in range(2)]
    assert shares == [([8, 9], 2), ([10, 11, 12], 3)]
    assert agent.share_of_cores(5, 6) == (None, 1)


def test_hyper_threads_stay_together(monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1, 2, 3})
    for cpu, core in enumerate(['0,2', '1,3', '0,2', '1,3']):
        (tmp_path / str(cpu)).write_text(core)
    monkeypatch.setattr(agent, 'TOPOLOGY', str(tmp_path / '%d'))
    assert [agent.share_of_cores(i, 2) for i in range(2)] == [([0, 2], 1), ([1, 3], 1)]


def test_a_free_port_is_free_and_so_is_the_next():
    port = agent.free_port('127.0.0.1')
    with socket.create_server(('127.0.0.1', port)), socket.create_server(('127.0.0.1', port + 1)):
        pass


@pytest.mark.parametrize('variables, message', [
    ({}, 'but not DMLC_PS_ROOT_URI and DMLC_PS_ROOT_PORT and DMLC_NUM_WORKER'),
    (dict(DMLC_PS_ROOT_URI='a', DMLC_PS_ROOT_PORT='x', DMLC_NUM_WORKER='1', DMLC_NUM_SERVER='1'),
     'DMLC_PS_ROOT_PORT must be a number above 0, not x')])
def test_an_incomplete_environment_is_refused(variables, message):
    with pytest.raises(ConfigError, match=message):
        check_environment(variables)


@pytest.mark.parametrize('port, watch_port, message', [
    ('70000', '', 'must not exceed 65535'), ('65535', '', 'must not exceed 65535'), ('9000', '65536', 'exceed'),
    ('9000', 'x', 'RFCN_WATCH_PORT must be a number above 0'), ('\u00b2', '', 'PORT must be a number')])
def test_a_port_that_cannot_be_is_refused_by_every_process(port, watch_port, message):
    variables = dict.fromkeys(NEEDED, '1')
    check_environment(dict(variables, DMLC_PS_ROOT_PORT='65535', RFCN_WATCH_PORT='9000'))
    with pytest.raises(ConfigError, match=message):
        check_environment(dict(variables, DMLC_PS_ROOT_PORT=port, RFCN_WATCH_PORT=watch_port))


def test_mxnet_s_scheduler_is_told_the_number_of_an_address_that_is_given_by_name(monkeypatch):
    port, told = agent.free_port('127.0.0.1'), []

    def watch(address, *others):
        told.append(os.environ['DMLC_PS_ROOT_URI'])
        raise KeyboardInterrupt     # the rest is MXNet's
    monkeypatch.setattr(roles, 'Watch', watch)
    for name, value in zip(NEEDED, ('localhost', str(port), '1', '1')):
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt):
        roles.serve('scheduler')
    assert told == ['127.0.0.1']


def test_a_port_or_an_address_that_the_scheduler_cannot_have_is_told():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match='cannot listen on 127.0.0.1:%d .Address already in use' % port):
            hold_port('127.0.0.1', port)
    hold_port('127.0.0.1', port).close()
    for host, number in ('no.such.host.invalid', port), ('127.0.0.1', 70000):
        with pytest.raises(ConfigError, match='cannot listen on %s:%d .*RFCN_WATCH_PORT' % (host, number)):
            hold_port(host, number)


def test_a_held_port_is_given_to_nobody_else_and_the_scheduler_can_listen_on_it():
    port = agent.free_port('127.0.0.1')
    with hold_port('127.0.0.1', port), socket.socket() as server:
        with pytest.raises(OSError, match='Address already in use'):
            server.bind(('127.0.0.1', port))    # as MXNet does for a server, without SO_REUSEADDR
        with socket.create_server(('127.0.0.1', port)):
            pass


@pytest.mark.parametrize('text', ['', '-1', '2', 'a', '\u00b2'])
def test_a_worker_needs_a_number_of_its_own(text):
    assert rank_of({'DMLC_WORKER_ID': '1'}, 2) == 1
    with pytest.raises(ConfigError, match='DMLC_WORKER_ID must be the number of this worker, 0 to 1, not'):
        rank_of({'DMLC_WORKER_ID': text}, 2)


@pytest.mark.parametrize('words, message', [
    ('', 'shares out train, train_rpn'), ('-- demo', 'shares out train, train_rpn'),
    ('--hosts hosts -- train', 'hosts: the hosts have 1025 slots; at most 1024 workers')])
def test_what_cannot_be_launched_is_refused(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'hosts').write_text('a address=127.0.0.1 slots=1024\nb address=127.0.0.2 slots=1')
    with pytest.raises(ConfigError, match=message):
        main(['launch'] + words.split())


@pytest.mark.parametrize('words, message', [
    ('--workers 0 -- train', "--workers: expected a whole number from 1, not '0'"),
    ('--workers two -- train', "--workers: expected a whole number from 1, not 'two'"),
    ('--servers 1000000 -- train', '--servers: expected 1024 at most, not 1000000')])
def test_a_number_of_processes_that_cannot_be_is_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        main(['launch'] + words.split())
    assert message in capsys.readouterr().err


def test_a_command_that_is_not_shared_is_no_worker(monkeypatch):
    monkeypatch.setenv('DMLC_ROLE', 'worker')
    with pytest.raises(UserError, match='several processes share the work of train'):
        main(['demo'])


def test_the_batches_of_all_workers_are_those_of_one():
    order = [4, 2, 0, 1, 3, 5, 6]
    assert [share_of(order, 2, rank, 3) for rank in range(3)] == [[4, 2, 6], [0, 1], [3, 5]]
    assert share_of(order, 2, 0, 1) == order and share_of(order, 2, 5, 6) == []


def test_detections_pass_through_bytes_unchanged():
    boxes = np.arange(20, dtype=np.float32).reshape(4, 5)
    shares = [packed([[boxes[:0]], [boxes[:3]]], [1]), packed([[boxes[:0]], [boxes[3:]]], [0]), packed([[], []], [])]
    found = unpacked(shares, num_classes=2, images=2)
    assert [[of_image.tolist() for of_image in of_class] for of_class in found] == [
        [[], []], [boxes[3:].tolist(), boxes[:3].tolist()]]
    assert found[0][0].shape == (0, 5) and found[1][1].dtype == np.float32
