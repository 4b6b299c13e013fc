"""examples/serve.py under load, over the machine's own network."""
import asyncio
import contextlib
import http.client
import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from rfcn import Detector

for package in ('fastapi', 'uvicorn'):
    pytest.importorskip(package, reason='%s is not installed: pip install %s' % (package, package))

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / 'examples' / 'serve.py'
BOUNDS = {'RFCN_MAX_BYTES': '100000', 'RFCN_MAX_PIXELS': '40000', 'RFCN_UPLOAD_SECONDS': '2'}
WORKERS, CALLERS, LOAD = 2, 8, 160
GROWTH_MB = 16      # that a worker may grow by under load; a picture that is kept, of 40,000 pixels, is 0.5 MB as float


def call(port, path='/detect?thresh=0.05', data=None, method='POST', headers=()):
    """Status and JSON of a request on a connection of its own."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, data, dict(headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def health(port):
    return call(port, '/health', method='GET')


def workers(port, count=WORKERS, but=()):
    """The process ids of all workers, asked until so many have answered."""
    found, until = set(), time.time() + 90
    while len(found) < count:
        assert time.time() < until, 'only %d workers answer' % len(found)
        with contextlib.suppress(OSError, http.client.HTTPException):
            found |= {health(port)[1]['worker']} - set(but)
        time.sleep(0.02)
    return found


@pytest.fixture(scope='module')
def port(tiny_run, tiny_params):
    """The port of a running service with two workers."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(SERVICE), '--cfg', str(tiny_run / 'config.yaml'), '--params', tiny_params,
         '--workers', str(WORKERS), '--port', str(port)], env=dict(os.environ, PYTHONPATH=str(ROOT), **BOUNDS))
    try:
        workers(port)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture(scope='module')
def expected(tiny_run, tiny_voc, tiny_params):
    """Bytes of a picture -> the objects that `Detector` finds in it."""
    detector = Detector(str(tiny_run / 'config.yaml'), tiny_params)
    paths = sorted((tiny_voc / 'JPEGImages').iterdir())
    answers = {path.read_bytes(): [{'class_name': each.class_name, 'score': each.score, 'box': each.box.tolist()}
                                   for each in detector.detect(str(path), 0.05)] for path in paths}
    assert sum(map(len, answers.values())) > len(paths)
    return answers


def put_under_load(port, expected, count):
    """Send so many pictures from several callers at once; all answers must be right."""
    sent = list(itertools.islice(itertools.cycle(expected), count))
    with ThreadPoolExecutor(CALLERS) as callers:
        answers = list(callers.map(lambda data: call(port, data=data), sent))
    assert {status for status, _ in answers} == {200}
    assert [answer['objects'] for _, answer in answers] == [expected[data] for data in sent]


def resident_mb(process):
    """Memory of a process in MB."""
    pages = int(Path('/proc/%d/statm' % process).read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2 ** 20


def test_under_load_all_answers_are_right_and_no_worker_grows(port, expected):
    put_under_load(port, expected, LOAD)
    before = {process: resident_mb(process) for process in workers(port)}
    put_under_load(port, expected, LOAD)
    grown = {process: resident_mb(process) - mb for process, mb in before.items()}
    assert max(grown.values()) < GROWTH_MB, grown


def picture(extension, height=40, width=60):
    return cv2.imencode(extension, np.full((height, width, 3), 90, np.uint8))[1].tobytes()


@pytest.mark.parametrize('data, status, told', [
    (b'', 400, 'empty file'),
    (b'hello', 400, 'expected an image, found 5 bytes'),
    (picture('.jpg')[:-200], 400, 'expected an image'),
    (picture('.png', 250, 250), 400, '250 x 250 pixels, more than the limit of 40000'),
    (bytes(150000), 413, 'at most 100000 bytes'),
], ids=['empty', 'text', 'truncated', 'too_many_pixels', 'too_many_bytes'])
def test_a_bad_upload_is_the_caller_s_fault_and_told_in_a_sentence(port, expected, data, status, told):
    found, answer = call(port, data=data)
    assert found == status and told in answer['detail'] and '/' not in answer['detail']
    put_under_load(port, expected, 2)


def test_a_form_is_refused_with_the_call_that_sends_a_picture(port):
    found, answer = call(port, data=b'--x', headers={'Content-Type': 'multipart/form-data; boundary=x'})
    assert found == 415 and 'curl --data-binary' in answer['detail']


@pytest.mark.parametrize('thresh', ['7', 'nan', 'high', '-1'])
def test_a_threshold_that_is_none_is_refused(port, thresh):
    assert call(port, '/detect?thresh=' + thresh, data=picture('.png'))[0] == 422


def test_an_upload_that_does_not_arrive_is_given_up(port):
    with socket.create_connection(('127.0.0.1', port), timeout=30) as connection:
        connection.sendall(b'POST /detect HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc')
        assert connection.recv(100).startswith(b'HTTP/1.1 408')


def test_an_upload_that_breaks_off_does_no_harm(port, expected):
    for _ in range(5):
        with socket.create_connection(('127.0.0.1', port), timeout=30) as connection:
            connection.sendall(b'POST /detect HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc')
    put_under_load(port, expected, 4)
    assert {health(port)[1]['waiting'] for _ in range(10)} == {0}


def test_a_worker_that_dies_is_replaced(port, expected):
    killed = next(iter(workers(port)))
    os.kill(killed, signal.SIGKILL)
    assert killed not in workers(port, but=[killed])
    put_under_load(port, expected, 4)


def test_a_missing_file_ends_the_service_with_a_sentence(tiny_run, tmp_path):
    done = subprocess.run([sys.executable, str(SERVICE), '--cfg', str(tiny_run / 'config.yaml'),
                           '--params', str(tmp_path / 'none.params')], env=dict(os.environ, PYTHONPATH=str(ROOT)),
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 1 and 'none.params' in done.stdout and 'Traceback' not in done.stdout


@pytest.mark.parametrize('value', ['10MB', '-1', '0', ''])
def test_a_bound_that_is_no_number_ends_the_service_with_a_sentence(value):
    done = subprocess.run([sys.executable, str(SERVICE), '--help'], timeout=120, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(os.environ, PYTHONPATH=str(ROOT), RFCN_MAX_BYTES=value))
    assert done.returncode == 1
    assert done.stdout == 'error: the environment variable RFCN_MAX_BYTES: expected a whole number from 1, ' \
                          'not %r\n' % value


class SlowDetector:
    """Finds nothing, and only when it is told to."""

    def __init__(self):
        self.go_on = threading.Event()

    def detect(self, path, score_thresh):
        self.go_on.wait(30)
        return []


class Upload:
    """A request whose body is a picture."""

    headers = {}

    async def stream(self):
        yield picture('.png')


def test_a_network_that_hangs_is_told_to_callers_and_by_the_health_check(monkeypatch):
    monkeypatch.setenv('RFCN_DETECT_SECONDS', '1')
    monkeypatch.setenv('RFCN_MAX_WAITING', '3')
    spec = importlib.util.spec_from_file_location('serve', str(SERVICE))
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    serve.app.state.inside, serve.app.state.detector = 0, SlowDetector()

    async def status(coroutine):
        try:
            await coroutine
            return 200
        except serve.HTTPException as error:
            return error.status_code, error.detail

    async def scene():
        assert await status(serve.health()) == 200
        found = await asyncio.gather(*[status(serve.detect(Upload(), 0.5)) for _ in range(4)])
        assert found == [(503, 'the answer took more than 1 s')] * 3 + [(503, 'too many pictures are waiting')]
        assert await status(serve.health()) == (503, '2 pictures take longer than they may')
        serve.app.state.detector.go_on.set()
        for _ in range(100):
            if not serve.overdue:
                break
            await asyncio.sleep(0.05)
        assert await status(serve.health()) == 200 and await status(serve.detect(Upload(), 0.5)) == 200
        assert serve.app.state.inside == 0
    asyncio.run(scene())
