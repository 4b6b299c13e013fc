"""What several tests of rfcn need: graphs with values in them, the files of a training, a training that is stopped."""
import json
import signal
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from rfcn import data_sets
from rfcn.checkpoints import checkpoint, states
from rfcn.checkpoints.pretrained import init_params
from rfcn.core.loader import Batch
from rfcn.core.target_loaders import anchor_loader
from rfcn.core.trainer import Trainer
from rfcn.symbols import make_symbol
from tests.conftest import ROOT, numpy_names


@pytest.fixture
def run():
    """The function `run_symbol`."""
    return run_symbol


@pytest.fixture
def picture(tiny_voc):
    """Path of an image of 96 x 64 pixels with a red and a blue object."""
    return str(tiny_voc / 'JPEGImages' / 'wide1.jpg')


def run_symbol(symbol, inputs, backward=False, params=None, seed=0):
    """Bind a graph and run it forward, and backward if asked to.

    Args:
        inputs: name -> array. params: name -> array, where they are not the first values of `init_params`.
    Returns:
        the executor: outputs, grad_dict (of parameters), arg_dict.
    """
    shapes = {name: value.shape for name, value in inputs.items()}
    arg_params, aux_params, _ = init_params(symbol, shapes, seed=seed)
    executor = symbol.simple_bind(mx.cpu(), grad_req={name: 'null' if name in inputs else 'write'
                                                      for name in symbol.list_arguments()}, **shapes)
    executor.copy_params_from(dict(arg_params, **(params or {})), aux_params)
    for name, value in inputs.items():
        executor.arg_dict[name][:] = value
    executor.forward(is_train=backward)
    if backward:
        executor.backward()
    return executor


def log_lines(prefix, kind='train'):
    """The lines of one type in the log of a training, without what depends on the clock."""
    with open('%s-log.jsonl' % prefix) as file:
        lines = [json.loads(line, parse_constant=pytest.fail) for line in file]
    return [{name: value for name, value in line.items() if name != 'images_per_s'} for line in lines
            if line['type'] == kind]


def checkpoint_arrays(prefix, epoch):
    """Name -> array of everything in the two files of a checkpoint, and its Progress."""
    arg_params, aux_params = checkpoint.load_params(checkpoint.params_path(str(prefix), epoch))
    momenta, progress, _, _ = states.load_states(checkpoint.states_path(str(prefix), epoch))
    named = [*arg_params.items(), *aux_params.items(),
             *[('momentum ' + name, value) for name, value in momenta.items()]]
    return {name: value.asnumpy() for name, value in named}, progress


@pytest.fixture
def stop_at(monkeypatch):
    """A function (number) -> list of the batches of all steps from now on; in the step of that number comes SIGTERM."""
    def patch(number, monkeypatch=monkeypatch):
        step, steps = Trainer._step, []

        def counted(trainer, batch):
            steps.append(batch)
            if len(steps) == number:
                signal.raise_signal(signal.SIGTERM)
            return step(trainer, batch)
        monkeypatch.setattr(Trainer, '_step', counted)
        return steps
    return patch


def arrays_of(batch):
    """Name -> NumPy array of all inputs in a batch."""
    descriptions = batch.provide_data + batch.provide_label
    return {desc.name: value.asnumpy() for desc, value in zip(descriptions, batch.data + batch.label)}


# Run with -I: neither the project's folder nor an installed copy of it can be imported, and so it must stay.
WITHOUT_PROJECT = '''
import sys
sys.path = [path for path in sys.path if path != {root!r} and not path.endswith('.editable')]
sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in str(finder).lower()]
{numpy_names}
for name in ('rfcn', 'lib'):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + ' can be imported')
import mxnet as mx
data, im_info = [mx.nd.array(np.load(name)) for name in ('data.npy', 'im_info.npy')]
{code}
np.savez('found.npz', *[value.asnumpy() for value in found])
'''


def run_without_project(code, folder):
    """What a user computes of an image of 64 x 96 pixels in a Python that has MXNet and not this project.

    Args:
        code: makes the list of arrays `found` from `mx`, `data` and `im_info`. folder: an empty one, to run in.
    Returns:
        the arrays, and a batch of the same image.
    """
    inputs = {'data': np.random.RandomState(0).uniform(-100, 100, (1, 3, 64, 96)).astype(np.float32),
              'im_info': np.array([[64, 96, 1]], dtype=np.float32)}
    folder.mkdir(exist_ok=True)
    for name, value in inputs.items():
        np.save(folder / (name + '.npy'), value)
    (folder / 'run.py').write_text(WITHOUT_PROJECT.format(root=str(ROOT), numpy_names=numpy_names(), code=code))
    done = subprocess.run([sys.executable, '-I', '-W', 'ignore', 'run.py'], cwd=str(folder), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    with np.load(folder / 'found.npz') as found:
        arrays = [found['arr_%d' % number] for number in range(len(found.files))]
    return arrays, Batch(inputs)


@pytest.fixture
def training_graph(tiny_cfg):
    """A function (KEY=VALUE, ...) -> configuration, end-to-end training graph, its first batch as name -> array."""
    def make(*overrides):
        cfg = tiny_cfg(*overrides)
        symbol = make_symbol(cfg).get_symbol(is_train=True)
        loader = anchor_loader(cfg, data_sets.training_roidb(cfg), symbol)
        return cfg, symbol, arrays_of(next(loader.batches()))
    return make
