"""Three hosts that are network namespaces of this machine, joined by a bridge."""
import socket
import subprocess
import sys

import pytest

from experiments.bench.namespaces import SHELL, Hosts, NoNamespaces
from tests.rfcn.launching.conftest import SETTINGS
from tests.rfcn.launching.test_launch import RUN

pytestmark = pytest.mark.slow
TOLD = 'worker 2 (host %s, process ' % socket.gethostname()


@pytest.fixture
def hosts():
    """Three namespaces."""
    try:
        with Hosts(3) as made:
            yield made
    except NoNamespaces as error:
        pytest.skip(str(error))


def test_three_hosts_train_together_and_end_when_one_of_them_is_silent(hosts, tmp_path, tiny_yaml, launch):
    (tmp_path / 'hosts').write_text(hosts.lines())
    options = ['--hosts', str(tmp_path / 'hosts'), '--rsh', SHELL]

    def start(folder, epochs):
        return launch('train', '--cfg', tiny_yaml(), 'output_path=%s' % (tmp_path / folder), *SETTINGS,
                      'TRAIN.end_epoch=%d' % epochs, options=options)
    status, printed = start('short', 1).wait()
    assert status == 0 and (tmp_path / 'short' / RUN / 'tiny-0001.params').exists(), printed

    run = start('long', 5000)
    run.wait_for_lines(tmp_path / 'long' / RUN / 'tiny-log.jsonl', 4)
    for number in (1, 2, 3):    # on the given address alone
        assert hosts.listening(number) == {'%s.%d' % (hosts.network, number)}
    hosts.cut_off(3)
    status, printed = run.wait(60)
    assert status == 1 and TOLD in printed.splitlines()[-1] and 'has not answered for 20 seconds' in printed
    for name in ('scheduler', 'server-0', 'worker-0', 'worker-1'):
        assert TOLD in (tmp_path / 'logs' / (name + '.log')).read_text().splitlines()[-1]
    assert 'the scheduler on %s.1 has not answered' % hosts.network in (
        tmp_path / 'logs' / 'worker-2.log').read_text().splitlines()[-1]
    assert run.processes() == {}


def test_a_slow_link_carries_as_much_as_it_was_given(hosts):
    hosts.slow_down(0.1, 0.1)
    other = 'import socket; print("on", flush=True); one = socket.create_server(("%s.1", 9000)).accept()[0]\n' \
            'while one.recv(65536): pass\none.sendall(b"x")' % hosts.network
    send = 'import socket, time; one = socket.create_connection(("%s.1", 9000)); begun = time.monotonic()\n' \
           'one.sendall(bytes(10 ** 7)); one.shutdown(socket.SHUT_WR); one.recv(1)\n' \
           'print(time.monotonic() - begun)' % hosts.network
    enter = [['ip', 'netns', 'exec', name, sys.executable, '-c'] for name in hosts.names]
    with subprocess.Popen(enter[0] + [other], stdout=subprocess.PIPE) as listener:
        listener.stdout.readline()
        seconds = float(subprocess.run(enter[1] + [send], stdout=subprocess.PIPE, check=True).stdout)
    # 80 Mbit at 100 Mbit a second; the first megabyte is let through at once
    assert 0.6 < seconds < 2.0
