"""A server on loopback, and archives for it."""
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

QUICK = dict(retries=3, timeout=5, pause=0.01)     # of a download; seconds


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; understands Range; cuts a connection after the next number of `server.cuts`."""

    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        asked = self.headers.get('Range')
        self.server.requests.append((self.path, asked))
        start = int(asked[len('bytes='):-1]) if asked and self.server.resumable else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header('Content-Range', 'bytes */%d' % len(content))
            self.send_header('Content-Length', '0')
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(content) - 1, len(content)))
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.files, server.requests, server.cuts, server.resumable = {}, [], [], True
    server.url = 'http://127.0.0.1:%d' % server.server_port
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def make_tar(files, kind=tarfile.REGTYPE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, '/etc/passwd'
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def md5_of(content):
    return hashlib.md5(content).hexdigest()
