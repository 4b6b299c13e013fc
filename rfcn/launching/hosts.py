"""Which host runs which processes, how it is reached, and what each of them is told by its environment."""
import contextlib
import os
import shlex
import socket
import sys
from collections import namedtuple

from lib.errors import ConfigError
from lib.utils.limits import open_input

LOCAL, LOOPBACK = 'this host', '127.'
MOST_PROCESSES = 1024   # workers, servers, slots of a host; each process has a whole network

Host = namedtuple('Host', 'name slots path python address variables')
Host.__doc__ = """A line of the file of hosts: name as ssh takes it, LOCAL for this host; workers it takes; folder of
the project there; interpreter; address that the others reach it at; variables of the environment."""

Process = namedtuple('Process', 'name role rank host')


def local_host(workers):
    """This host, for all workers of a launch without a file of hosts."""
    return Host(LOCAL, workers, os.getcwd(), sys.executable, '127.0.0.1', {})


def read_hosts(path):
    """The hosts of a file: a line each, `NAME [slots=N] [path=DIR] [python=FILE] [address=IP] [VARIABLE=VALUE ...]`.

    Empty lines and what follows a # do not count; what has spaces stands in quotes, as in "path=/my folder". By default
    a host takes one worker; path is the present folder, python the present interpreter, and the address is looked up.

    Raises:
        ConfigError: naming the line and what is wrong with it.
        FileNotFoundError.
    """
    hosts = []
    try:
        with open_input(path, 'r', encoding='utf-8') as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ConfigError('%s: expected a text file with a line for each host (%s)' % (path, error)) from error
    if '\0' in text:    # no word of a command may hold it
        raise ConfigError('%s: expected a text file with a line for each host (it holds null bytes)' % path)
    for number, line in enumerate(text.splitlines(), 1):
        where = '%s, line %d' % (path, number)
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise ConfigError('%s: quotes do not come in pairs (%s)' % (where, error)) from error
        if words:
            hosts.append(_host(words, where))
    if not hosts:
        raise ConfigError('%s: expected a line for each host, found none' % path)
    names = [host.name for host in hosts]
    if len(set(names)) < len(names):
        raise ConfigError('%s: a host is named twice; give it slots=N for N workers' % path)
    inward = [host for host in hosts if host.address.startswith(LOOPBACK)]      # such as Debian gives to the own name
    if inward and len(inward) < len(hosts):
        raise ConfigError('%s: the other hosts cannot reach %s at %s, by which each means itself: write address=IP'
                          % (path, inward[0].name, inward[0].address))
    return hosts


def _host(words, where):
    if words[0].startswith('-'):    # the remote shell would take it for an option
        raise ConfigError('%s: expected the name of a host, found %s' % (where, words[0]))
    settings = {}
    for word in words[1:]:
        key, equals, value = word.partition('=')
        if not equals or not key:
            raise ConfigError('%s: expected slots=N, path=DIR, python=FILE, address=IP or VARIABLE=VALUE, found %s'
                              % (where, word))
        settings[key] = value
    slots = settings.pop('slots', '1')
    if not slots.isdecimal() or len(slots) > 9 or not 1 <= int(slots) <= MOST_PROCESSES:
        raise ConfigError('%s: slots must be a number from 1 to %d, not %.20s' % (where, MOST_PROCESSES, slots))
    path, python = settings.pop('path', os.getcwd()), settings.pop('python', sys.executable)
    address = _address(settings.pop('address', None) or words[0], where)
    unknown = [key for key in settings if key.islower()]
    if unknown:
        raise ConfigError('%s: unknown key %s; variables of the environment are in capitals' % (where, unknown[0]))
    return Host(words[0], int(slots), path, python, address, settings)


def _address(name, where):
    """The IP address of a host: MXNet listens on no name."""
    try:
        return socket.gethostbyname(name.rpartition('@')[2])
    except (OSError, UnicodeError) as error:    # of a name that no host can have
        raise ConfigError('%s: the address of %s is not known here (%s); write address=IP' % (where, name, error)
                          ) from None


def assign_processes(hosts, workers, servers):
    """The processes of a launch: the scheduler on the first host, workers host by host, servers in turn.

    Returns:
        list of Process; names are 'scheduler', 'server 0', ..., 'worker 0', ...
    Raises:
        ConfigError: there are more workers than slots.
    """
    slots = [host for host in hosts for _ in range(host.slots)]
    if workers > len(slots):
        raise ConfigError('%d workers do not fit into the %d slots of the hosts: give them slots=N'
                          % (workers, len(slots)))
    used = list({host.name: host for host in slots[:workers]}.values())
    return ([Process('scheduler', 'scheduler', None, hosts[0])]
            + [Process('server %d' % i, 'server', None, used[i % len(used)]) for i in range(servers)]
            + [Process('worker %d' % i, 'worker', i, slots[i]) for i in range(workers)])


def words_of_shell(text):
    """The words of --rsh. Raises a ConfigError for quotes that do not come in pairs, and where there is no command."""
    words = ()
    with contextlib.suppress(ValueError):
        words = shlex.split(text)
    if not words or not words[0]:
        raise ConfigError('--rsh must be a command, quotes in pairs, such as "ssh -p 2222"; found %r' % text)
    return words


def remote_command(rsh, host):
    """The words that start the agent of a host. ssh gives its words to a shell there, other commands pass them on."""
    words = [host.python, '%s/rfcn/launching/agent.py' % host.path.rstrip('/')]
    if os.path.basename(rsh[0]) == 'ssh':
        words = [shlex.quote(word) for word in words]
    return [*rsh, host.name, *words]


def variables_of(process, root, port, workers, servers):
    """The environment that makes a process what it is; docs/several_hosts.md lists these for other launchers.

    Args:
        root, port: address of the scheduler.
    """
    variables = {'DMLC_ROLE': process.role, 'DMLC_PS_ROOT_URI': root, 'DMLC_PS_ROOT_PORT': str(port),
                 'DMLC_NUM_WORKER': str(workers), 'DMLC_NUM_SERVER': str(servers),
                 'DMLC_NODE_HOST': process.host.address}
    if process.role == 'worker':
        variables['DMLC_WORKER_ID'] = str(process.rank)
    return dict(variables, **process.host.variables)
