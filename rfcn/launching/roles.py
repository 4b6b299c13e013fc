"""The processes that compute nothing: MXNet's scheduler and its servers, which only add up what the workers push."""
import ctypes
import os
import socket
import sys
import time

from lib.errors import ConfigError
from rfcn.launching.watch import ALL_END, MISSING_STATUS, WATCH_PORT, Member, Watch, end_at_once, watch_address

LAST_PORT = 65535
NEEDED = ('DMLC_PS_ROOT_URI', 'DMLC_PS_ROOT_PORT', 'DMLC_NUM_WORKER', 'DMLC_NUM_SERVER')


def check_environment(environ=os.environ):
    """Raise a ConfigError where the variables of a process of several are not complete."""
    missing = [name for name in NEEDED if not environ.get(name)]
    if missing:
        raise ConfigError('DMLC_ROLE is set, which makes this a process of several, but not %s. Use rfcn launch, or '
                          'see docs/several_hosts.md' % ' and '.join(missing))
    numbers = {name: environ[name] for name in (*NEEDED[1:], WATCH_PORT) if environ.get(name)}
    for name, text in numbers.items():
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError('%s must be a number above 0, not %s' % (name, text))
    if max(watch_address(environ)[1], int(environ['DMLC_PS_ROOT_PORT'])) > LAST_PORT:
        raise ConfigError('DMLC_PS_ROOT_PORT, the port after it and %s must not exceed %d' % (WATCH_PORT, LAST_PORT))


def hold_port(host, port):
    """Keep a port free for MXNet's scheduler, which listens on it only seconds later.

    The servers and workers listen on any free port. A server that got this one would talk to itself and abort.

    Returns:
        A socket that is bound to the port and does not listen, so that another one with SO_REUSEADDR may.
    Raises:
        ConfigError: this process cannot listen on the port.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((host, port))
    except (OSError, OverflowError) as error:
        holder.close()
        reason = (getattr(error, 'strerror', None) or str(error)).partition(' (')[0]
        raise ConfigError('the scheduler cannot listen on %s:%d (%s). DMLC_PS_ROOT_URI must be an address of its host; '
                          'DMLC_PS_ROOT_PORT must be free, and so must the port after it, or RFCN_WATCH_PORT'
                          % (host, port, reason)) from error
    return holder


def serve(role):
    """Be the scheduler or a server until all workers have left.

    MXNet starts a server of its own when it is imported with DMLC_ROLE set; that one obeys commands of anyone who
    reaches its port, pickled Python among them. This one takes numbers alone.

    Args:
        role: 'scheduler' or 'server'.
    """
    check_environment()
    if role == 'scheduler':
        held = [hold_port(os.environ['DMLC_PS_ROOT_URI'], int(os.environ['DMLC_PS_ROOT_PORT'])),
                hold_port(*watch_address())]
        os.environ['DMLC_PS_ROOT_URI'] = held[0].getsockname()[0]      # MXNet listens on no name, such as localhost
        watch = Watch(watch_address(), int(os.environ['DMLC_NUM_WORKER']), int(os.environ['DMLC_NUM_SERVER']), _end)
    else:
        member = Member(watch_address(), role, None, end_at_once)
    import mxnet as mx  # which must not see the role while it is imported
    os.environ['DMLC_ROLE'] = role
    store = mx.kv.create('dist')
    controller = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_refuse)
    mx.base.check_call(mx.base._LIB.MXKVStoreRunServer(store.handle, controller, None))
    if role == 'server':
        member.leave()
    else:
        watch.wait_until_left()     # a server that has not said so yet would miss the scheduler
        for holder in held:
            holder.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)     # the store has been closed; Python's own end would close it again


def _refuse(number, body, _):
    print('warning: a command was sent to this server and not carried out (%d)' % number, file=sys.stderr, flush=True)


def _end(sentence):
    print('error: %s%s' % (sentence, ALL_END), file=sys.stderr, flush=True)
    time.sleep(1)       # until the members have read it
    os._exit(MISSING_STATUS)
