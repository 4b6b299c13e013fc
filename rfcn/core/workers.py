"""Several processes that share one training or test, and add up their numbers by MXNet's key-value stores.

A process is a worker if its environment has DMLC_ROLE=worker; docs/several_hosts.md lists the other variables. The
servers of MXNet's store only add up what the workers push; each worker updates its own parameters.
"""
import functools
import itertools
import json
import os
import socket

import mxnet as mx
import numpy as np

from lib.errors import ConfigError
from rfcn.launching.roles import check_environment
from rfcn.launching.watch import Member, end_at_once, watch_address

# The store keeps float32: whole numbers below 2^24 come through exactly, three bytes each.
BYTES_A_NUMBER = 3
CHUNK = 2 ** 18     # numbers of each worker that one exchange carries
HALF_SCALE = 128    # of gradients that travel in 16 bits: sums up to 65504 / 128 = 511 fit, errors are below 2.4e-10
_scopes = itertools.count()     # a key means one array for the life of the servers


class Alone:
    """A single process, with the interface of `Workers`."""

    rank, count, store = 0, 1, None
    first = True    # whether this worker writes the files of the run

    def sum(self, values):
        """The sum of numbers over all workers: those given, as an array."""
        return np.asarray(values)

    def gather(self, data):
        """The bytes of each worker, a list by rank; every worker gets the list."""
        return [data]

    def share(self, arrays):
        """Name -> NDArray of the first worker, for every worker; the arrays of the others are ignored."""
        return arrays

    def check_equal(self, what, text, remedy):
        """Raise a ConfigError if a worker's text differs from the first one's.

        Args:
            what: what the text describes. remedy: what to do; both for the message.
        """

    def meet(self):
        """Wait until all workers are here."""


class Workers(Alone):
    """The workers that share a parameter server.

    All have to call the same methods in the same order.
    """

    def __init__(self):
        check_environment()
        os.environ['MXNET_UPDATE_ON_KVSTORE'] = '0'     # the servers add up and have no optimizer
        self.count = int(os.environ['DMLC_NUM_WORKER'])
        self.rank = rank_of(os.environ, self.count)
        self._member = Member(watch_address(), 'worker', self.rank, end_at_once)
        self.failed = None
        self.store = mx.kv.create('dist_sync')
        self._exchanges = {}    # number of values -> key and array
        if not np.all(self.sum(np.eye(self.count)[self.rank]) == 1):
            raise ConfigError('DMLC_WORKER_ID must number the workers from 0 to %d, each once; this one has %d'
                              % (self.count - 1, self.rank))

    @property
    def first(self):
        return self.rank == 0

    def sum(self, values):
        """Add numbers up over all workers. Returns float32 array; whole numbers below 2^24 are exact."""
        values = np.asarray(values, dtype=np.float32)
        if values.size not in self._exchanges:
            key = 'values %d %d' % (values.size, next(_scopes))
            self._exchanges[values.size] = key, mx.nd.zeros(values.size)
            self.store.init(*self._exchanges[values.size])
        key, array = self._exchanges[values.size]
        array[:] = values.ravel()
        self.store.push(key, array)
        self.store.pull(key, array)
        return array.asnumpy().reshape(values.shape)

    def gather(self, data):
        sizes = self.sum(self._row(len(data).to_bytes(BYTES_A_NUMBER * 3, 'little'), 3))
        sizes = [int.from_bytes(_as_bytes(row), 'little') for row in sizes]
        step = BYTES_A_NUMBER * CHUNK
        parts = [self.sum(self._row(data[start:start + step], CHUNK)) for start in range(0, max(sizes), step)]
        return [b''.join(_as_bytes(part[rank]) for part in parts)[:size] for rank, size in enumerate(sizes)]

    def share(self, arrays):
        mine = {name: [value.shape, np.dtype(value.dtype).name] for name, value in arrays.items()} if self.first else {}
        described = json.loads(self.gather(json.dumps(mine).encode('utf-8'))[0].decode('utf-8'))
        sums, shared = Sums(self.store, 1), {}
        for name, (shape, dtype) in described.items():
            value = arrays[name].astype('float32') if self.first else mx.nd.zeros(tuple(shape))
            sums.add_keys({name: [value]})
            sums.sum(name, [value])
            shared[name] = value.astype(dtype)
        return shared

    def check_equal(self, what, text, remedy):
        here = json.dumps([text, socket.gethostname()]).encode('utf-8')
        texts = [json.loads(data.decode('utf-8')) for data in self.gather(here)]
        others = ['worker %d (host %s)' % (rank, host) for rank, (other, host) in enumerate(texts)
                  if other != texts[0][0]]
        if others:
            raise ConfigError('%s is not the same for all workers: %s has another one than worker 0 (host %s). %s'
                              % (what, ', '.join(others), texts[0][1], remedy))

    def meet(self):
        self.sum([1])

    def leave(self):
        """Close the store together with the others, just before the process ends by os._exit.

        Python's own end would close it again, and after an error the others would wait for this worker.
        """
        if self.failed is None:
            mx.nd.waitall()
            self._member.leave()
            mx.base.check_call(mx.base._LIB.MXKVStoreFree(self.store.handle))   # waits for the others

    def fail(self, text):
        """Tell the others that this worker ends because of an error."""
        self.failed = text
        self._member.fail(text)

    def _row(self, data, length):
        """(count, length): the bytes as numbers in this worker's row, zeros in those of the others."""
        rows = np.zeros((self.count, length), dtype=np.float32)
        padded = np.frombuffer(data.ljust(BYTES_A_NUMBER * length, b'\0'), dtype=np.uint8).reshape(length, -1)
        rows[self.rank] = padded.astype(np.float32) @ np.array([1, 2 ** 8, 2 ** 16], dtype=np.float32)
        return rows


def _as_bytes(numbers):
    """The bytes that `Workers._row` turned into numbers."""
    return np.asarray(numbers).astype('<u4').view(np.uint8).reshape(-1, 4)[:, :BYTES_A_NUMBER].tobytes()


def rank_of(environ, count):
    """The rank that DMLC_WORKER_ID gives.

    Raises:
        ConfigError: it is no number from 0 to count - 1.
    """
    text = environ.get('DMLC_WORKER_ID', '')
    if not text.isdecimal() or int(text) >= count:
        raise ConfigError('DMLC_WORKER_ID must be the number of this worker, 0 to %d, not %r; worker 0 writes the '
                          'checkpoints' % (count - 1, text))
    return int(text)


@functools.lru_cache(maxsize=None)
def workers():
    """The `Workers` that this process belongs to, or `Alone`."""
    return Workers() if os.environ.get('DMLC_ROLE') == 'worker' else Alone()


def joined_workers():
    """The `Workers` that this process has joined, or None."""
    member = workers() if workers.cache_info().currsize else None
    return member if isinstance(member, Workers) else None


class Sums:
    """Adds arrays up over the devices of this process and over the workers.

    Args:
        kvstore: the name of one of MXNet's stores on this machine, or the `store` of workers.
        devices: how many.
    """

    def __init__(self, kvstore, devices):
        self.workers = 1
        self._store = None
        if not isinstance(kvstore, str):
            self._store, self.workers = kvstore, kvstore.num_workers
        elif devices > 1:
            self._store = mx.kv.create(kvstore)
        self._devices = devices
        self._scope = next(_scopes)
        self._halves = {}       # name -> float16 array of each device

    def __del__(self):
        if getattr(self, '_store', None) is not None:
            mx.nd.waitall()     # a store that is freed before its sums are made ends the process (SIGFPE, SIGSEGV)

    @property
    def shared(self):
        """Whether there is anything to add up."""
        return self._store is not None

    def add_keys(self, arrays, half=False):
        """Say which sums there will be.

        Args:
            arrays: name -> the array of each device.
            half: between workers, as 16-bit numbers: each has an error of 2^-11 of itself, and so has the sum.
        """
        if not self.shared or not arrays:
            return
        if half and self.workers > 1:
            self._halves.update({name: [mx.nd.zeros_like(array).astype('float16') for array in values]
                                 for name, values in arrays.items()})
        self._store.init([self._key(name) for name in arrays],
                         [self._halves.get(name, values)[0] for name, values in arrays.items()])

    def sum(self, name, arrays, priority=0):
        """Replace the array of each device by the sum of all. It is done later, when somebody reads one of them."""
        if not self.shared:
            return
        sent = self._halves.get(name, arrays)
        if sent is not arrays:
            for half, array in zip(sent, arrays):
                half[:] = array * HALF_SCALE
        self._store.push(self._key(name), sent, priority=priority)
        self._store.pull(self._key(name), sent, priority=priority)
        if sent is not arrays:
            for half, array in zip(sent, arrays):
                array[:] = half
                array /= HALF_SCALE

    def mean(self, name, arrays):
        """Replace the array of each device by the mean of all."""
        self.sum(name, arrays)
        for array in arrays:
            array /= self._devices * self.workers

    def _key(self, name):
        return '%d %s' % (self._scope, name)
