"""Three hosts that are network namespaces of this machine, joined by a bridge."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import uuid

import pytest

from tests.rfcn.launching.conftest import ROOT, SETTINGS
from tests.rfcn.launching.test_launch import RUN

pytestmark = pytest.mark.slow
TOLD = 'worker 2 (host %s, process ' % socket.gethostname()


def ip(*words):
    subprocess.run(['ip', *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Hosts:
    """Namespaces NAME1, NAME2, NAME3 with the addresses 10.77.NUMBER.1 to 3."""

    def __init__(self):
        self.mark = uuid.uuid4().hex[:6]
        self.network = '10.77.%d' % (int(self.mark, 16) % 254 + 1)
        self.names = ['r%s%d' % (self.mark, number) for number in (1, 2, 3)]
        self.bridge = 'b' + self.mark
        self.links = ['v%s%d' % (self.mark, number) for number in (1, 2, 3)]

    def make(self):
        ip('link', 'add', self.bridge, 'type', 'bridge')
        ip('link', 'set', self.bridge, 'up')
        for number, (name, link) in enumerate(zip(self.names, self.links), 1):
            ip('netns', 'add', name)
            ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
            ip('link', 'set', link, 'master', self.bridge, 'up')
            ip('-n', name, 'addr', 'add', '%s.%d/24' % (self.network, number), 'dev', 'eth0')
            ip('-n', name, 'link', 'set', 'eth0', 'up')
            ip('-n', name, 'link', 'set', 'lo', 'up')

    def remove(self):
        for words in [['netns', 'del', name] for name in self.names] + [['link', 'del', self.bridge]] + [
                ['link', 'del', link] for link in self.links]:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*words)

    def cut_off(self, number):
        """The network loses all packets of a host, without a word to the others."""
        link = self.links[number - 1]
        loss = subprocess.run(['tc', 'qdisc', 'add', 'dev', link, 'root', 'netem', 'loss', '100%'],
                              stderr=subprocess.DEVNULL) if shutil.which('tc') else None
        if not loss or loss.returncode:     # not every kernel has netem
            ip('link', 'set', link, 'down')

    def listening(self, number):
        """The addresses that a host's processes listen on."""
        command = ['ip', 'netns', 'exec', self.names[number - 1], 'cat', '/proc/net/tcp', '/proc/net/tcp6']
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
        rows = [line.split() for line in found if ' 0A ' in line]
        return {socket.inet_ntoa(bytes.fromhex(row[1].partition(':')[0])[::-1]) if len(row[1]) == 13 else row[1]
                for row in rows}


@pytest.fixture
def hosts():
    """Three namespaces."""
    if not shutil.which('ip') or os.geteuid():
        pytest.skip('network namespaces need the command ip and the rights of root')
    made = Hosts()
    try:
        made.make()
        yield made
    except subprocess.CalledProcessError as error:
        pytest.skip('this system makes no network namespaces: %s' % error.stderr.decode().strip())
    finally:
        made.remove()


def test_three_hosts_train_together_and_end_when_one_of_them_is_silent(hosts, tmp_path, tiny_yaml, launch):
    lines = ['%s path=%s python=%s address=%s.%d' % (name, ROOT, sys.executable, hosts.network, number)
             for number, name in enumerate(hosts.names, 1)]
    (tmp_path / 'hosts').write_text('\n'.join(lines) + '\n')
    options = ['--hosts', str(tmp_path / 'hosts'), '--rsh', 'ip netns exec']

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
