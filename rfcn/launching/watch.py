"""Who takes part in a run of several processes, and who has gone missing.

MXNet's parameter server waits for ever for a process that was killed or a host that does not answer. So every worker
and server keeps a connection to the scheduler's process, and each side sends a line every few seconds. Who ends without
saying so, or is silent for SILENCE seconds, is missing: the scheduler tells all the others, and they end.

    member to scheduler   {"role": "worker", "rank": 1, "host": "b", "process": 123}, once
                          {"leaving": true} before the end of the run; {"failed": "text"} after an error of its own
    scheduler to member   {"gone": "worker 1 (host b, process 123) ..."}
    both                  {} every BEAT seconds

The port is the one after the scheduler's, or RFCN_WATCH_PORT. Nothing but the standard library is needed.
"""
import json
import os
import socket
import sys
import threading
import time

BEAT = 2.0              # seconds between two signs of life
SILENCE = 20.0          # seconds without one after which a process is missing
MISSING_STATUS = 75     # how a process ends because another one is missing; the cause has another status
ALL_END = '; all processes end'     # what the scheduler adds to the sentence
PATIENCE = 600.0        # seconds that the processes wait for each other at the start
LEAVING = 30.0          # seconds that the orderly end may take once the first process leaves
MAX_LINE = 2 ** 16      # bytes
WATCH_PORT = 'RFCN_WATCH_PORT'


class Channel:
    """Lines of JSON over a connection: beats go out by themselves, `receive` notices silence.

    Args:
        connection: a connected socket.
    """

    def __init__(self, connection):
        self.connection = connection
        self.connection.settimeout(SILENCE)
        self._lock = threading.Lock()
        self._rest = b''
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, **message):
        """Send a line. Returns whether the other side may have got it."""
        try:
            with self._lock:
                self.connection.sendall(json.dumps(message).encode('utf-8') + b'\n')
            return True
        except OSError:
            return False

    def receive(self):
        """The next message that is more than a beat; None where the connection has ended.

        Raises:
            TimeoutError: the other side is silent.
            ValueError: it does not speak as agreed.
        """
        while True:
            line, newline, rest = self._rest.partition(b'\n')
            if newline:
                self._rest = rest
                message = json.loads(line.decode('utf-8'))
                if not isinstance(message, dict):
                    raise ValueError('expected an object')
                if message:
                    return message
            elif not self._read():
                return None

    def close(self):
        """End the connection."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()

    def _read(self):
        try:
            data = self.connection.recv(4096)
        except socket.timeout:
            raise TimeoutError from None
        except OSError:
            data = b''
        self._rest += data
        if len(self._rest) > MAX_LINE:
            raise ValueError('a line is too long')
        return bool(data)

    def _beat(self):
        while self.send():
            time.sleep(BEAT)


class Watch:
    """The watch in the scheduler's process: waits for the members and tells them when one goes missing.

    Args:
        address: (host, port) to listen on.
        workers, servers: how many there will be.
        on_gone: called once with the sentence that says who is missing and why.
    """

    def __init__(self, address, workers, servers, on_gone):
        self.listener = socket.create_server(address)
        self.expected = {'worker': workers, 'server': servers}
        self.on_gone = on_gone
        self.members = {}       # Channel -> what it said of itself
        self._leaving = set()
        self._gone = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._wait_for_all, daemon=True).start()

    def missing(self):
        """Which members have not come yet, as text; '' if none is missing."""
        with self._lock:
            here = [member['role'] for member in self.members.values()]
            ranks = {member.get('rank') for member in self.members.values() if member['role'] == 'worker'}
        lacking = {role: count - here.count(role) for role, count in self.expected.items()}
        texts = ['%d of %d %ss' % (lack, self.expected[role], role) for role, lack in lacking.items() if lack > 0]
        if lacking['worker'] > 0 and ranks - {None}:
            texts[0] += ' (%s)' % ', '.join(str(rank) for rank in range(self.expected['worker']) if rank not in ranks)
        return ' and '.join(texts)

    def wait_until_left(self):
        """Return when all members have said that they leave."""
        while not self._leaving.issuperset(self.members):
            time.sleep(0.05)    # who does not leave within LEAVING seconds of the first is declared gone

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(Channel(connection),), daemon=True).start()

    def _listen(self, channel):
        try:
            member = channel.receive()
            if not isinstance(member, dict) or member.get('role') not in self.expected:
                raise ValueError('no member')
        except (TimeoutError, ValueError):
            channel.close()     # somebody else's connection
            return
        with self._lock:
            self.members[channel] = member
        reason = self._until_end(channel)
        if reason and channel not in self._leaving:
            self.declare_gone('%s %s' % (name_of(member), reason))

    def _until_end(self, channel):
        """Why a member's connection ended."""
        try:
            while True:
                message = channel.receive()
                if message is None:
                    return 'has ended without a word: it was killed, or its host was restarted'
                if 'failed' in message:
                    return 'has ended with an error: %s' % message['failed']
                if 'leaving' in message:
                    self._leave(channel)
        except TimeoutError:
            return 'has not answered for %d seconds: its host is down, or the network between is' % SILENCE
        except ValueError:
            return 'does not speak as agreed: is its version of rfcn another one?'

    def _leave(self, channel):
        if not self._leaving:
            threading.Thread(target=self._wait_for_end, daemon=True).start()
        self._leaving.add(channel)

    def _wait_for_end(self):
        time.sleep(LEAVING)
        late = [name_of(member) for channel, member in self.members.items() if channel not in self._leaving]
        self.declare_gone('%s did not end within %d seconds of the others'
                          % (' and '.join(late) or 'a process', LEAVING))

    def _wait_for_all(self):
        started = time.monotonic()
        while self.missing() and self._gone is None:
            if time.monotonic() - started > PATIENCE:
                self.declare_gone('%s did not come within %d seconds' % (self.missing(), PATIENCE))
            time.sleep(0.5)

    def declare_gone(self, sentence):
        """Tell all members and the caller, once."""
        with self._lock:
            if self._gone is not None:
                return
            self._gone = sentence
            channels = list(self.members)
        for channel in channels:
            channel.send(gone=sentence)
        self.on_gone(sentence)


class Member:
    """The process of a worker or a server as a member of the run: keeps its connection to the scheduler's process.

    Args:
        address: (host, port) of the Watch.
        role: 'worker' or 'server'. rank: the worker's, if it is known.
        on_gone: called once with a sentence when another process, or the scheduler, is missing.
    Raises:
        TimeoutError: there is no scheduler after PATIENCE seconds.
    """

    def __init__(self, address, role, rank, on_gone):
        self.address = address
        self.on_gone = on_gone
        self._leaving = False
        self.channel = Channel(self._connect())
        self.channel.send(role=role, rank=rank, host=socket.gethostname(), process=os.getpid())
        threading.Thread(target=self._listen, daemon=True).start()

    def leave(self):
        """The run is over: that this process ends is no longer a fault."""
        self._leaving = True
        self.channel.send(leaving=True)

    def fail(self, text):
        """This process ends because of an error."""
        self._leaving = True
        self.channel.send(failed=text)

    def _connect(self):
        started = told = time.monotonic()
        while True:
            try:
                return socket.create_connection(self.address, timeout=SILENCE)
            except OSError as error:
                now = time.monotonic()
                if now - started > PATIENCE:
                    raise TimeoutError('the scheduler at %s:%d does not answer (%s)' % (*self.address, error)) from None
                if now - told > 10:
                    print('waiting for the scheduler at %s:%d (%s)' % (*self.address, error.strerror or error),
                          file=sys.stderr, flush=True)
                    told = now
                time.sleep(0.2)

    def _listen(self):
        scheduler = 'the scheduler on %s' % self.address[0]
        try:
            message = self.channel.receive()
            if message:
                sentence = str(message.get('gone'))
            else:
                if self._leaving:
                    time.sleep(LEAVING)     # the process should have ended by then
                sentence = '%s has ended' % scheduler
        except TimeoutError:
            sentence = '%s has not answered for %d seconds: its host is down, or the network between is' % (
                scheduler, SILENCE)
        except ValueError:
            sentence = '%s does not speak as agreed: is its version of rfcn another one?' % scheduler
        self.on_gone(sentence)


def name_of(member):
    """The name of a member by what it said of itself: 'worker 1 (host b, process 123)'."""
    rank = '' if member.get('rank') is None else ' %s' % member['rank']
    return '%s%s (host %s, process %s)' % (member['role'], rank, member.get('host'), member.get('process'))


def watch_address(environ=os.environ):
    """(host, port) of the Watch, from the DMLC_ variables."""
    port = environ.get(WATCH_PORT) or int(environ['DMLC_PS_ROOT_PORT']) + 1
    return environ['DMLC_PS_ROOT_URI'], int(port)


def end_at_once(sentence):
    """Say why and end this process, whatever its threads wait for."""
    print('error: %s; this process ends too. TRAIN.RESUME=auto goes on from the newest checkpoint' % sentence,
          file=sys.stderr, flush=True)
    os._exit(MISSING_STATUS)
