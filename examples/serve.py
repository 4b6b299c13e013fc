"""A small HTTP service: a picture goes in, its objects come out as JSON.

    pip install fastapi uvicorn
    python examples/serve.py --cfg config.yaml --params X.params --workers 2 --port 8000
    curl --data-binary @street.jpg 'http://127.0.0.1:8000/detect?thresh=0.5'

    200  {"objects": [{"class_name": "dog", "score": 0.98, "box": [x1, y1, x2, y2]}, ...]}; pixels of the picture
    400  the upload is no picture, is damaged, or has too many pixels          408  it did not arrive in time
    413  the upload has too many bytes                                         422  thresh is no number from 0 to 1
    415  the upload is a form (curl -F): the body must be the picture itself
    503  too many pictures are waiting, or the answer took too long: try again

GET /health answers 200, or 503 while a picture takes longer than it may. Each worker is a process with a network of its
own; a worker that dies is replaced. The service knows no users and no encryption: put it behind a server that does.
"""
import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import uvicorn
    from fastapi import FastAPI, HTTPException, Query, Request
    from starlette.requests import ClientDisconnect

    import rfcn  # MXNet itself is loaded with the first Detector: a worker that starts must answer within 5 s
    from rfcn.cli.script import make_parser, run_script, whole_number_from
except ModuleNotFoundError as error:
    sys.exit('error: %s is not installed in this Python: call pip install ".[serve]" in the project\'s folder'
             % error.name)

# Bounds of each worker. An environment variable of the same name after RFCN_ changes one.
BOUNDS = {'MAX_BYTES': 10 * 2 ** 20, 'MAX_PIXELS': 25 * 10 ** 6, 'UPLOAD_SECONDS': 20, 'DETECT_SECONDS': 30,
          'MAX_WAITING': 16}


def bound(name, usual):
    """A bound of the environment, or else the usual one."""
    try:
        return whole_number_from(1)(os.environ.get('RFCN_' + name, str(usual)))
    except argparse.ArgumentTypeError as error:
        sys.exit('error: the environment variable RFCN_%s: %s' % (name, error))


BOUNDS = {name: bound(name, usual) for name, usual in BOUNDS.items()}

threads = ThreadPoolExecutor(2)     # one picture is read while the network sees another
overdue = set()                     # jobs that go on though their callers have been told that they took too long


@contextlib.asynccontextmanager
async def lifespan(app):
    """Each worker loads a network of its own, from the files that `main` has named."""
    app.state.inside = 0            # requests that have a place
    app.state.detector = rfcn.Detector(os.environ['RFCN_CFG'], os.environ['RFCN_PARAMS'],
                                       ['dataset.MAX_PIXELS=%d' % BOUNDS['MAX_PIXELS']])
    yield


app = FastAPI(title='R-FCN', lifespan=lifespan)


async def upload(request):
    """The body of a request, which is read no further than it may be long."""
    if request.headers.get('content-type', '').startswith('multipart/'):
        raise HTTPException(415, 'expected the picture itself, found a form: curl --data-binary @street.jpg sends it')
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BOUNDS['MAX_BYTES']:
            raise HTTPException(413, 'expected a picture of at most %d bytes' % BOUNDS['MAX_BYTES'])
    return data


def found_in(data, thresh):
    """The objects of a picture, in a form that JSON has; called in a thread."""
    with tempfile.NamedTemporaryFile(prefix='upload_') as file:     # `Detector` checks files before it decodes them
        file.write(data)
        file.flush()
        try:
            found = app.state.detector.detect(file.name, score_thresh=thresh)
        except ValueError as error:     # of which DatasetError is a kind
            raise HTTPException(400, str(error).replace(file.name, 'upload')) from error
    return {'objects': [{'class_name': each.class_name, 'score': each.score, 'box': each.box.tolist()}
                        for each in found]}


async def answer(request, thresh):
    """Take the upload, then wait for its objects; both no longer than the bounds allow."""
    try:
        data = await asyncio.wait_for(upload(request), BOUNDS['UPLOAD_SECONDS'])
    except asyncio.TimeoutError:
        raise HTTPException(408, 'the upload took more than %d s' % BOUNDS['UPLOAD_SECONDS']) from None
    except ClientDisconnect:
        raise HTTPException(400, 'the upload broke off') from None
    job = threads.submit(found_in, data, thresh)
    result = asyncio.wrap_future(job)
    if (await asyncio.wait([result], timeout=BOUNDS['DETECT_SECONDS']))[0]:
        return result.result()
    if not job.cancel():    # it does not wait any more, and a network at work cannot be stopped
        overdue.add(job)
        job.add_done_callback(overdue.discard)
    raise HTTPException(503, 'the answer took more than %d s' % BOUNDS['DETECT_SECONDS'], {'Retry-After': '10'})


@app.post('/detect')
async def detect(request: Request, thresh: float = Query(0.5, ge=0, le=1)):
    """Detect in the picture that is the body of the request."""
    if app.state.inside + len(overdue) >= BOUNDS['MAX_WAITING']:
        raise HTTPException(503, 'too many pictures are waiting', {'Retry-After': '1'})
    app.state.inside += 1
    try:
        return await answer(request, thresh)
    finally:
        app.state.inside -= 1


@app.get('/health')
async def health():
    """Whether this worker answers in time."""
    if overdue:
        raise HTTPException(503, '%d pictures take longer than they may' % len(overdue))
    return {'status': 'ok', 'waiting': app.state.inside, 'worker': os.getpid()}


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('--cfg', required=True, help='the config.yaml that training wrote')
    parser.add_argument('--params', required=True, help='checkpoint, .params')
    parser.add_argument('--workers', type=whole_number_from(1, 256), default=1, help='processes (default 1)')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine alone)')
    parser.add_argument('--port', type=whole_number_from(1, 65535), default=8000, help='(default 8000)')
    args = parser.parse_args(argv)
    rfcn.Detector(args.cfg, args.params)     # what is wrong with them ends the program here, with a sentence
    os.environ.update(RFCN_CFG=os.path.abspath(args.cfg), RFCN_PARAMS=os.path.abspath(args.params))
    cores = len(os.sched_getaffinity(0))
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, cores // args.workers)))    # workers share the cores
    uvicorn.run('serve:app', host=args.host, port=args.port, workers=args.workers,
                app_dir=str(Path(__file__).resolve().parent), access_log=False)


if __name__ == '__main__':
    run_script(main)
