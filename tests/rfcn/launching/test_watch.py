"""Who takes part in a run of several processes, and who is missing. Here all are threads of one process."""
import queue
import socket
import threading
import time

import pytest

from rfcn.launching import watch
from rfcn.launching.watch import Member, Watch, watch_address


@pytest.fixture
def quick(monkeypatch):
    """Beats of hundredths of a second."""
    for name, seconds in dict(BEAT=0.05, SILENCE=0.5, PATIENCE=3.0, LEAVING=0.5).items():
        monkeypatch.setattr(watch, name, seconds)


class Run:
    """A Watch of two workers and a server, and what each process was told: name -> queue of sentences."""

    def __init__(self):
        self.told = {name: queue.Queue() for name in ('scheduler', 'worker 0', 'worker 1', 'server')}
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.address = free.getsockname()
        self.watch = Watch(self.address, 2, 1, self.told['scheduler'].put)

    def join(self, name):
        role, _, rank = name.partition(' ')
        return Member(self.address, role, int(rank) if rank else None, self.told[name].put)

    def join_all(self):
        members = {name: self.join(name) for name in ('worker 0', 'worker 1', 'server')}
        deadline = time.monotonic() + 3
        while self.watch.missing() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.watch.missing() == ''
        return members

    def sentence(self, name):
        return self.told[name].get(timeout=3)


def test_a_member_that_ends_without_a_word_is_named_to_all_others(quick):
    run = Run()
    run.join_all()['worker 1'].channel.close()
    for name in ('scheduler', 'worker 0', 'server'):
        sentence = run.sentence(name)
        assert sentence.startswith('worker 1 (host %s, process ' % socket.gethostname())
        assert 'has ended without a word: it was killed' in sentence


def test_a_member_that_is_silent_is_named_to_all_others(quick):
    run = Run()
    members = run.join_all()
    members['server'].channel.send = lambda **message: False     # its beats end, its connection does not
    for name in ('scheduler', 'worker 0', 'worker 1'):
        sentence = run.sentence(name)
        assert sentence.startswith('server (host') and 'has not answered for 0 seconds: its host is down' in sentence


def test_a_worker_that_fails_gives_the_reason_to_all_others(quick):
    run = Run()
    run.join_all()['worker 0'].fail('x.jpg: no such file')
    assert run.sentence('worker 1').endswith('has ended with an error: x.jpg: no such file')


def test_members_notice_that_the_scheduler_has_ended(quick):
    run = Run()
    run.join_all()
    for channel in run.watch.members:
        channel.close()
    assert run.sentence('worker 0') == 'the scheduler on 127.0.0.1 has ended'


def test_at_the_orderly_end_nobody_is_missing(quick):
    run = Run()
    members = run.join_all()
    for member in members.values():
        member.leave()
    time.sleep(0.2)
    for member in members.values():
        member.channel.close()
    time.sleep(0.2)     # less than LEAVING, within which the processes end
    assert all(told.empty() for told in run.told.values())


def test_the_scheduler_stays_until_all_members_have_said_that_they_leave(quick):
    run = Run()
    members = run.join_all()
    left = threading.Thread(target=run.watch.wait_until_left, daemon=True)
    left.start()
    for member in members.values():
        time.sleep(0.1)
        assert left.is_alive()
        member.leave()
    left.join(timeout=1)
    assert not left.is_alive() and all(told.empty() for told in run.told.values())


def test_a_member_that_stays_when_the_others_have_left_is_named(quick):
    run = Run()
    members = run.join_all()
    members['worker 0'].leave()
    members['server'].leave()
    assert run.sentence('scheduler').startswith('worker 1 (host')
    assert 'did not end within 0 seconds of the others' in run.sentence('worker 0')


def test_members_that_do_not_come_are_named(quick, monkeypatch):
    monkeypatch.setattr(watch, 'PATIENCE', 1.0)
    run = Run()
    run.join('worker 0')
    assert run.sentence('scheduler') == '1 of 2 workers (1) and 1 of 1 servers did not come within 1 seconds'


@pytest.mark.parametrize('line', [b'GET / HTTP/1.1\r\n', b'{"role": "king"}\n', b'[]\n', b'\xff\n', b'x' * 70000],
                         ids=['HTTP', 'unknown role', 'a list', 'no UTF-8', 'no line'])
def test_what_other_programs_send_is_no_member_and_disturbs_nobody(quick, line):
    run = Run()
    with socket.create_connection(run.address) as stranger:
        stranger.sendall(line)
        time.sleep(0.2)
        run.join_all()
        time.sleep(0.2)
        assert all(told.empty() for told in run.told.values())


def test_a_member_without_a_scheduler_says_what_it_waits_for_and_gives_up(quick, monkeypatch):
    monkeypatch.setattr(watch, 'PATIENCE', 0.3)
    with socket.create_server(('127.0.0.1', 0)) as free:
        address = free.getsockname()
    with pytest.raises(TimeoutError, match='the scheduler at 127.0.0.1:%d does not answer' % address[1]):
        Member(address, 'server', None, print)


def test_the_watch_listens_beside_the_scheduler_on_its_address():
    variables = {'DMLC_PS_ROOT_URI': '10.0.0.1', 'DMLC_PS_ROOT_PORT': '9000'}
    assert watch_address(variables) == ('10.0.0.1', 9001)
    assert watch_address(dict(variables, RFCN_WATCH_PORT='7000')) == ('10.0.0.1', 7000)
