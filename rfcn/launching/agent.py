"""Starts and ends the processes of `rfcn launch` on one host. Run as a file, with the standard library alone.

The launcher writes lines of JSON to its standard input, and reads lines of JSON, MARK before each, from its standard
output; lines without MARK are of somebody else, such as a login shell:

    {"port": "10.0.0.1"}                    -> {"port": 43210}: of that address, free, as is the next one; or null and
                                               {"reason": "..."}
    {"start": {"name": "worker 0", ...}}    see `Agent.start`
    {"stop": ["worker 0"], "signal": 15}    send a signal
    {}                                      a sign of life, every BEAT seconds, from both sides
                                            -> {"line": "text", "of": "worker 0"}: what a process with "show" prints
                                            -> {"ended": "worker 0", "status": -9}; with a reason, if it never began

When the launcher ends, or is silent for SILENCE seconds, the processes are asked to stop and, PATIENCE seconds later,
killed: none stays behind. Where the agent is killed, they are killed, too.

With an argument this file is the beginning of such a process, see `become`.
"""
import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

MARK = 'rfcn agent: '
BEAT = 2.0
SILENCE = 25.0      # longer than the silence of a member of the run, which says who is missing
PATIENCE = 15.0
PRCTL = getattr(ctypes.CDLL(None), 'prctl', None)
PR_SET_PDEATHSIG = 1
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)     # do not end the agent, nor processes by default
PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)   # in itself; what it starts shall not
NOT_STARTED = 127   # status of a command that is not there, as in a shell
THREADS = ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS')
TOPOLOGY = '/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list'    # hyper-threads of one core say the same


def open_log(path):
    """A log file to add to; its folder is made. Raises an OSError where something else stands at one of the paths."""
    folder = os.path.realpath(os.path.dirname(path))    # of a link to a folder that is not there yet, that folder
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, 'a folder is expected for the log files, it is something else', folder)
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(path) and not os.path.isfile(path):   # opening a FIFO would wait
        raise OSError(errno.EINVAL, 'a regular file is expected for the log, it is something else', path)
    return open(path, 'ab')


class Agent:
    """The processes of this host."""

    def __init__(self):
        self.processes = {}     # name -> Popen
        self.heard = time.monotonic()
        self._lock = threading.Lock()

    def serve(self):
        """Do what the launcher says until it has nothing more to say."""
        for work in (self._beat, self._watch_launcher):
            threading.Thread(target=work, daemon=True).start()
        for line in sys.stdin:
            self.heard = time.monotonic()
            message = json.loads(line)
            if 'port' in message:
                self._tell_port(message['port'])
            if 'start' in message:
                self.start(**message['start'])
            for name in message.get('stop', ()):
                self._send_signal(name, message['signal'])
        self.end_all()

    def start(self, name, command, folder, variables, log, share=None, show=False, stoppable=False):
        """Start a process.

        Args:
            command: list of words. folder: to start it in. variables: of its environment, beside those of the agent.
            log: file for what it prints, made here with its folder. show: also tell the launcher.
            share: [i, n], the i-th of n shares of the cores; None for all of them.
            stoppable: whether it can be asked to stop; scheduler and servers go on until the workers have left.
        """
        cpus, threads = share_of_cores(*share) if share else (None, 1)
        variables = dict({name: str(threads) for name in THREADS}, **variables)
        reason, told = os.pipe()    # why the command cannot be started; closed when it has begun
        start = {'parent': os.getpid(), 'command': command, 'cpus': cpus, 'stoppable': stoppable, 'told': told}
        try:
            path = os.path.join(folder, log)
            with open_log(path) as file:
                process = subprocess.Popen(
                    [sys.executable, '-I', os.path.abspath(__file__), json.dumps(start)], cwd=folder,
                    env=dict(os.environ, **variables), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if show else file, stderr=subprocess.STDOUT, start_new_session=True,
                    pass_fds=[told])
        except OSError as error:
            os.close(reason)
            self.tell(ended=name, status=NOT_STARTED, reason=_cannot_start(error))
            return
        finally:
            os.close(told)
        self.processes[name] = process
        threading.Thread(target=self._follow, args=(name, process, reason, path if show else None), daemon=True).start()

    def tell(self, **message):
        """Send a line to the launcher, if it is still there."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            sys.stdout.write(MARK + json.dumps(message) + '\n')
            sys.stdout.flush()

    def end_all(self):
        """Ask the processes to stop, kill what is left later, and end."""
        for number, seconds in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
            for name in list(self.processes):
                self._send_signal(name, number)
            deadline = time.monotonic() + seconds
            while any(process.poll() is None for process in self.processes.values()) and time.monotonic() < deadline:
                time.sleep(0.05)
        os._exit(0)

    def _tell_port(self, address):
        try:
            self.tell(port=free_port(address))
        except OSError as error:
            self.tell(port=None, reason=(error.strerror or str(error)).partition(' (')[0])

    def _send_signal(self, name, number):
        process = self.processes.get(name)
        if process and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(process.pid, number)  # with what it started
                else:
                    process.send_signal(number)

    def _follow(self, name, process, reason, path):
        with open(reason, encoding='utf-8') as file:
            failure = file.read()
        if path:
            with open(path, 'ab', buffering=0) as log:
                for line in process.stdout:
                    log.write(line)
                    self.tell(line=line.decode('utf-8', 'replace').rstrip('\n'), of=name)
        self.tell(ended=name, status=process.wait(), **({'reason': failure} if failure else {}))

    def _beat(self):
        while True:
            self.tell()
            time.sleep(BEAT)

    def _watch_launcher(self):
        while time.monotonic() - self.heard < SILENCE:
            time.sleep(1.0)
        print('the launcher has not answered for %d seconds' % SILENCE, file=sys.stderr)
        self.end_all()


def become(parent, command, cpus, stoppable, told):
    """Make this new process the command, after setting what the command inherits.

    It is a program of its own, since Python must not run between fork and exec in a process with threads: it may hang.

    Args:
        parent: number of the agent's process. cpus: processors to run on; None for all. command, stoppable: see
            `Agent.start`. told: descriptor that takes the reason if the command cannot be started.
    """
    end_with_parent(parent)
    for number in PYTHON_IGNORES:
        signal.signal(number, signal.SIG_DFL)
    for number in () if stoppable else STOPS:
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(told, False)
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        os.execvp(command[0], command)
    except OSError as error:
        error.filename = error.filename or command[0]
        os.write(told, _cannot_start(error).encode('utf-8', 'replace'))
        sys.exit(NOT_STARTED)


def _cannot_start(error):
    return 'cannot be started (%s: %s)' % (error.filename, error.strerror)


def end_with_parent(parent):
    """On Linux: have this process killed when its parent (a process number) ends, however that ends."""
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before it could be asked for
            os.kill(os.getpid(), signal.SIGKILL)


def share_of_cores(number, count):
    """The processors of the number-th of `count` equal shares of this host's cores, and how many cores these are.

    (None, 1) where there are fewer cores than shares: then nothing is pinned.
    """
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        try:
            with open(TOPOLOGY % cpu) as file:
                core = file.read()
        except OSError:
            core = cpu
        cores.setdefault(core, []).append(cpu)
    cores = list(cores.values())
    mine = cores[len(cores) * number // count:len(cores) * (number + 1) // count]
    return (sum(mine, []), len(mine)) if len(cores) >= count else (None, 1)


def free_port(address):
    """A port of this host's address that is free, as is the one after it."""
    while True:
        with socket.create_server((address, 0)) as first:
            port = first.getsockname()[1]
            try:
                with socket.create_server((address, port + 1)):
                    return port
            except (OSError, OverflowError):
                continue


if __name__ == '__main__':
    if sys.argv[1:]:
        become(**json.loads(sys.argv[1]))
    for _number in STOPS:       # the launcher decides; where it ends, so does standard input
        signal.signal(_number, lambda *_: None)     # what were ignored, new processes would ignore until they `become`
    Agent().serve()
