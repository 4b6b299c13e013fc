"""Hosts that are network namespaces of this machine, joined by a bridge, with links as slow as is wished."""
import contextlib
import shutil
import socket
import subprocess
import sys
import uuid

from lib.errors import UserError
from rfcn.config.config import PROJECT

SHELL = 'ip netns exec'     # --rsh of rfcn launch
BURST = '1mb'               # that a link lets through at once; a packet of this machine's own has up to 64 KB


class NoNamespaces(UserError, RuntimeError):
    """This system makes no network namespaces, or does not let us."""


def ip(*words):
    """Call the command ip.

    Raises:
        NoNamespaces: there is no such command, or it fails.
    """
    try:
        subprocess.run(['ip', *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, 'stderr', None)
        raise NoNamespaces('no network namespaces here, which need the command ip and the rights of root: %s'
                           % (said.decode('utf-8', 'replace').strip() if said else error)) from error


class Hosts:
    """Namespaces with the addresses 10.77.NUMBER.1, 2, ...; a context manager that removes them.

    Args:
        count: how many.
    Raises:
        NoNamespaces: on entering.
    """

    def __init__(self, count):
        self.mark = uuid.uuid4().hex[:6]
        self.network = '10.77.%d' % (int(self.mark, 16) % 254 + 1)
        numbers = range(1, count + 1)
        self.names = ['r%s%d' % (self.mark, number) for number in numbers]
        self.bridge = 'b' + self.mark
        self.links = ['v%s%d' % (self.mark, number) for number in numbers]

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *error):
        self._remove()

    def _make(self):
        ip('link', 'add', self.bridge, 'type', 'bridge')
        ip('link', 'set', self.bridge, 'up')
        for number, (name, link) in enumerate(zip(self.names, self.links), 1):
            ip('netns', 'add', name)
            ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
            ip('link', 'set', link, 'master', self.bridge, 'up')
            ip('-n', name, 'addr', 'add', '%s.%d/24' % (self.network, number), 'dev', 'eth0')
            ip('-n', name, 'link', 'set', 'eth0', 'up')
            ip('-n', name, 'link', 'set', 'lo', 'up')

    def _remove(self):
        for words in [['netns', 'del', name] for name in self.names] + [['link', 'del', self.bridge]] + [
                ['link', 'del', link] for link in self.links]:
            with contextlib.suppress(NoNamespaces):
                ip(*words)

    def lines(self, more=None):
        """The lines of a file of hosts for rfcn launch, one for each host.

        Args:
            more: what else is said of each host, such as 'slots=2'.
        """
        return ''.join('%s path=%s python=%s address=%s.%d %s\n'
                       % (name, PROJECT, sys.executable, self.network, number, words)
                       for number, (name, words) in enumerate(zip(self.names, more or [''] * len(self.names)), 1))

    def slow_down(self, gbit, milliseconds):
        """Give each host's link so many Gbit/s in each direction, and each packet a delay.

        Returns:
            whether there is the delay: a kernel without netem can limit the rate alone.
        Raises:
            NoNamespaces: it can do neither.
        """
        delay = ['netem', 'rate', '%ggbit' % gbit, 'delay', '%gms' % milliseconds, 'limit', '100000']
        rate = ['tbf', 'rate', '%ggbit' % gbit, 'burst', BURST, 'latency', '100ms']
        for discipline in delay, rate:
            if all(self._shape(name, link, discipline) for name, link in zip(self.names, self.links)):
                return discipline is delay
        raise NoNamespaces('tc can make no link slower here')

    def _shape(self, name, link, discipline):
        for device in (['-n', name], 'eth0'), ([], link):      # what the host sends, and what it receives
            words = ['tc', *device[0], 'qdisc', 'replace', 'dev', device[1], 'root', *discipline]
            if not shutil.which('tc') or subprocess.run(words, stderr=subprocess.DEVNULL).returncode:
                return False
        return True

    def cut_off(self, number):
        """The network loses all packets of the number-th host, from 1, without a word to the others."""
        link = self.links[number - 1]
        lose = ['tc', 'qdisc', 'replace', 'dev', link, 'root', 'netem', 'loss', '100%']
        if not shutil.which('tc') or subprocess.run(lose, stderr=subprocess.DEVNULL).returncode:
            ip('link', 'set', link, 'down')     # not every kernel has netem

    def listening(self, number):
        """The addresses that the processes of the number-th host listen on."""
        command = ['ip', 'netns', 'exec', self.names[number - 1], 'cat', '/proc/net/tcp', '/proc/net/tcp6']
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
        rows = [line.split() for line in found if ' 0A ' in line]
        return {socket.inet_ntoa(bytes.fromhex(row[1].partition(':')[0])[::-1]) if len(row[1]) == 13 else row[1]
                for row in rows}
