"""Run a command as several processes, on this host or on several, that share its work.

    rfcn launch --workers 4 -- train --cfg X.yaml
    rfcn launch --hosts hosts.txt --servers 2 -- test --cfg X.yaml

Training is that of one process with as many devices; of testing each worker does its share. What worker 0 prints is
shown, and everything is in the files of --logs on the host of each process. Ctrl-C stops a training with a checkpoint.
docs/several_hosts.md tells how it is done, and how to start the processes by other means.
"""
import argparse
import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from lib.errors import ConfigError, UserError
from lib.utils.console import discard
from rfcn.cli.commands import SHARED
from rfcn.cli.script import make_parser, run_script, whole_number_from
from rfcn.launching import agent
from rfcn.launching.hosts import (
    LOCAL,
    MOST_PROCESSES,
    assign_processes,
    local_host,
    read_hosts,
    remote_command,
    variables_of,
    words_of_shell,
)
from rfcn.launching.watch import ALL_END, MISSING_STATUS

logger = logging.getLogger(__name__)

SSH = 'ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=5 -o ServerAliveCountMax=4'
FAULT_GRACE = 15.0      # seconds for the others to end by themselves once a process has failed
HELPER_GRACE = 3.0      # the same for scheduler and servers once no worker is left
STOP_GRACE = 50.0       # seconds for the workers to stop in order once that is wished
KILL_GRACE = 8.0        # seconds for what is left to end
AGENT_GRACE = agent.PATIENCE + 10.0     # seconds for an agent to end what it started
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)     # ask for the end of a run
STOPPED = {128 + number: number.name for number in STOPS}      # the status of a training


class LaunchFailed(UserError, RuntimeError):
    """A process ended with an error or went missing."""


class Connection:
    """To the agent of a host: its process, and its messages as they come, in a queue shared by all.

    Args:
        host: Host. rsh: words of the remote shell. inbox: queue of (Connection, message); None when it has ended.
    """

    def __init__(self, host, rsh, inbox):
        self.host = host
        self.heard = time.monotonic()
        self.answered = self.lost = False
        command = [sys.executable, agent.__file__] if host.name == LOCAL else remote_command(rsh, host)
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            start_new_session=True)
        except OSError as error:
            raise ConfigError('%s cannot be started (%s); --rsh names another remote shell'
                              % (command[0], error.strerror)) from error
        threading.Thread(target=self._read, args=(inbox,), daemon=True).start()

    def tell(self, **message):
        """Send a line, if the agent is still there."""
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(message).encode('utf-8') + b'\n')
            self.process.stdin.flush()

    def close(self):
        """End the agent and what it started."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def wait(self):
        """After `close`: wait until the agent has ended. A remote shell that does not answer is killed."""
        try:
            self.process.wait(AGENT_GRACE if self.answered and not self.lost else 1.0)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _read(self, inbox):
        for line in self.process.stdout:
            self.heard = time.monotonic()
            text = line.decode('utf-8', 'replace')
            if text.startswith(agent.MARK) and text.endswith('\n'):
                self.answered = True
                inbox.put((self, json.loads(text[len(agent.MARK):])))
            else:
                print(text, end='', file=sys.stderr)    # of a login shell, or half a line where the connection ends
        inbox.put((self, None))


def log_path(logs, name):
    """The log file of a process, in the folder `logs`."""
    return os.path.join(logs, name.replace(' ', '-') + '.log')


class Launch:
    """A run of several processes.

    Args:
        processes: of `assign_processes`. command: words after `rfcn`. rsh: words of the remote shell.
        logs: folder of the log files, in the folder of the project on each host.
    """

    def __init__(self, processes, command, rsh, logs):
        self.processes = {process.name: process for process in processes}
        self.command = command
        self.logs = logs
        self.workers, self.servers = (sum(process.role == role for process in processes)
                                      for role in ('worker', 'server'))
        self.running = set(self.processes)
        self.stuck = []         # names of processes that had to be killed
        self.faults = []        # sentences, the first is the cause where that can be told
        self.failed = False     # whether a process has ended with an error
        self.told = ''          # what the scheduler says of who is missing
        self.signal = None
        self.deadline = None    # when the next harder step is taken
        self.killed = False
        self.inbox = queue.Queue()
        self.rsh = rsh
        self.connections = {}   # name of a host -> Connection

    def run(self):
        """Start all processes and wait until all have ended. Returns the exit status.

        Raises:
            LaunchFailed: one of them failed or went missing.
        """
        before = {number: signal.signal(number, self._note) for number in STOPS
                  if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}     # as `nohup` wants it
        try:
            for host in {process.host.name: process.host for process in self.processes.values()}.values():
                self.connections[host.name] = Connection(host, self.rsh, self.inbox)
            port = self._ask_for_port()
            if port is None:
                self.running.clear()
            else:
                self._start(port)
            beat = 0.0
            while self.running and not all(connection.lost for connection in self.connections.values()):
                if time.monotonic() - beat > agent.BEAT:
                    beat = time.monotonic()
                    self._tell_all()
                self._check_time()
                self._handle(*self._next())
        finally:
            for connection in self.connections.values():
                connection.close()
            for connection in self.connections.values():
                connection.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.signal:
            return 128 + self.signal
        if self.faults or self.failed:
            reason = (self.faults + [self.told or self._stuck()])[0]
            raise LaunchFailed('%s; what the processes said is in %s' % (reason, self.logs))
        return 0

    def _ask_for_port(self):
        """A port for the scheduler; None after Ctrl-C."""
        first = self.connections[self.processes['scheduler'].host.name]
        first.tell(port=first.host.address)
        lost = first        # where nobody answers at all
        deadline = time.monotonic() + agent.SILENCE
        while time.monotonic() < deadline:
            if self.signal:
                return None
            connection, message = self._next()
            if message and 'port' in message:
                if message['port'] is None:
                    raise ConfigError('the host %s cannot listen on %s (%s): write address=IP, with an address of that '
                                      'host' % (first.host.name, first.host.address, message['reason']))
                return message['port']
            if connection and message is None:
                lost = connection
                break
        raise LaunchFailed('the host %s does not answer: can it be reached, and is rfcn in its folder %s?'
                           % (lost.host.name, lost.host.path))

    def _start(self, port):
        root = self.processes['scheduler'].host.address
        on_host = {}
        for process in self.processes.values():
            if process.role == 'worker':
                on_host.setdefault(process.host.name, []).append(process)
        for name, process in self.processes.items():
            share = None
            if process.role == 'worker':
                share = [on_host[process.host.name].index(process), len(on_host[process.host.name])]
            self.connections[process.host.name].tell(start=dict(
                name=name, command=[process.host.python, '-m', 'rfcn', *self.command], folder=process.host.path,
                variables=variables_of(process, root, port, self.workers, self.servers), share=share,
                log=log_path(self.logs, name), show=process.rank == 0 or process.role == 'scheduler',
                stoppable=process.role == 'worker'))

    def _next(self):
        try:
            return self.inbox.get(timeout=0.2)
        except queue.Empty:
            return None, {}

    def _handle(self, connection, message):
        if connection and message is None:
            self._lose(connection, 'ended the connection')
        elif message and 'line' in message:
            self._show(message['of'], message['line'])
        elif message and message.get('ended') in self.running:
            self.running.discard(message['ended'])
            self._note_end(message['ended'], message['status'], message.get('reason'))
            if (self.failed or self.signal) and not self._workers_left():
                self._end_within(HELPER_GRACE)

    def _show(self, name, line):
        if name == 'scheduler' and line.startswith('error: '):
            self.told = line[len('error: '):].replace(ALL_END, '')  # who is missing
            return
        try:
            print(line, flush=True)
        except OSError as error:    # as of one process: its work goes on
            discard(sys.stdout.fileno())
            logger.warning('standard output cannot be written (%s); the run goes on, its logs are in %s',
                           error.strerror, self.logs)

    def _note_end(self, name, status, reason):
        """Note a fault if the end of a process is one. reason: why it never began; None if it has."""
        if status == 0 or self.signal or self.killed:
            return
        how = 'was killed by %s' % signal.Signals(-status).name if status < 0 else \
            'was stopped by %s' % STOPPED[status] if status in STOPPED else 'ended with status %d' % status
        sentence = '%s (%s) %s' % (name, self.processes[name].host.name,
                                   reason or '%s, see %s' % (how, log_path(self.logs, name)))
        self.failed = True
        if status != MISSING_STATUS:    # else it ended because of another one
            self.faults.insert(0 if status < 0 else len(self.faults), sentence)
        self._end_within(FAULT_GRACE)

    def _workers_left(self):
        return [name for name in self.running if self.processes[name].role == 'worker']

    def _end_within(self, seconds):
        latest = time.monotonic() + seconds
        self.deadline = min(self.deadline or latest, latest)

    def _stuck(self):
        """The sentence for processes that nobody but the launcher could end."""
        names = ['%s (%s)' % (name, self.processes[name].host.name) for name in self.stuck]
        return '%s did not answer and had to be killed' % ' and '.join(names) if names else \
            'a process ended because another one is missing'

    def _lose(self, connection, how):
        gone = {name for name in self.running if self.processes[name].host is connection.host}
        if gone and not connection.lost and not self.signal:
            who = 'the agent of this host' if connection.host.name == LOCAL else 'the host %s' % connection.host.name
            self.faults.insert(0, '%s %s: %s went missing' % (who, how, ', '.join(sorted(gone))))
            self._end_within(FAULT_GRACE)
        connection.lost = True
        self.running -= gone

    def _check_time(self):
        now = time.monotonic()
        for connection in self.connections.values():
            if now - connection.heard > agent.SILENCE and not connection.lost:
                self._lose(connection, 'has not answered for %d seconds' % agent.SILENCE)
        if self.signal and not self.deadline:
            logger.info('stopping the workers; again to end them at once')
            self._tell_all(stop=self._workers_left(), signal=int(signal.SIGTERM))
            self.deadline = now + STOP_GRACE
        if self.deadline and now > self.deadline:
            if self.killed:
                self.running.clear()
            else:
                self.stuck = sorted(self.running)
            self.killed = True
            self._tell_all(stop=sorted(self.running), signal=int(signal.SIGKILL))
            self.deadline = now + KILL_GRACE

    def _note(self, number, frame):
        if self.signal and number != signal.SIGHUP:     # of which a closed terminal may send several
            self.deadline = 0.1     # now
        self.signal = number

    def _tell_all(self, **message):
        for connection in self.connections.values():
            connection.tell(**message)


def main(argv=None):
    """Entry point. Returns the exit status."""
    parser = make_parser(__doc__)
    number = whole_number_from(1, MOST_PROCESSES)
    parser.add_argument('--workers', type=number,
                        help='how many share the work; by default as many as the hosts take, or 2')
    parser.add_argument('--servers', type=number, default=1, help='processes that add up gradients (default 1)')
    parser.add_argument('--hosts', help='file of hosts, a line each: NAME [slots=N] [path=DIR] [python=FILE] '
                                        '[address=IP] [VARIABLE=VALUE ...]')
    parser.add_argument('--rsh', default=SSH, help='remote shell (default: %(default)s)')
    parser.add_argument('--logs', help='folder of the log files (default launch_logs/<date, time and process>)')
    parser.add_argument('command', nargs=argparse.REMAINDER, metavar='-- NAME ...',
                        help='what rfcn is to do; with --traceback, a worker shows where in the program an error arose')
    args = parser.parse_args(argv)
    command = args.command[1:] if args.command[:1] == ['--'] else args.command
    if not command or command[0] not in SHARED:
        raise ConfigError('rfcn launch shares out %s, as in rfcn launch --workers 2 -- train --cfg X.yaml; found %s'
                          % (', '.join(SHARED), command[0] if command else 'no command'))
    hosts = read_hosts(args.hosts) if args.hosts else [local_host(args.workers or 2)]
    workers = args.workers or sum(host.slots for host in hosts)
    if workers > MOST_PROCESSES:
        raise ConfigError('%s: the hosts have %d slots; at most %d workers share the work: name fewer with --workers N'
                          % (args.hosts, workers, MOST_PROCESSES))
    logging.basicConfig(level='INFO', format='launch: %(message)s', stream=sys.stderr)
    logs = args.logs or os.path.join('launch_logs', time.strftime('%%Y%%m%%d-%%H%%M%%S-%d' % os.getpid()))
    rsh = words_of_shell(args.rsh)
    processes = assign_processes(hosts, workers, args.servers)
    for process in processes:
        logger.info('%s: %s, log %s', process.name, process.host.name,
                    Path(process.host.path) / log_path(logs, process.name))
    return Launch(processes, command, rsh, logs).run()


if __name__ == '__main__':
    run_script(main)
