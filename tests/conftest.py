"""Fixtures shared by all tests: the golden vectors, a tiny data set on disk and the configuration of a tiny network."""
import contextlib
import logging
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

os.environ.setdefault('OMP_NUM_THREADS', '1')  # on tiny networks threads wait for each other longer than they compute

import rfcn  # noqa: F401  before any test imports MXNet: the names that it needs of NumPy
from rfcn._compat import FINANCIAL, RENAMED, SAME
from rfcn.collect_env import wait_before_fork

ROOT = Path(__file__).resolve().parents[1]
LONGEST_ID = 48     # letters of a parameter in the name of a test

# Of the tiny data set: image name -> ((width, height), objects (class, x1, y1, x2, y2) counted from 1 as VOC does).
TINY_IMAGES = {
    'wide1': ((96, 64), [('red', 9, 9, 40, 40), ('blue', 49, 17, 88, 56)]),
    'wide2': ((96, 64), [('blue', 5, 17, 52, 48)]),
    'wide3': ((90, 60), [('red', 33, 9, 72, 48)]),
    'high1': ((64, 96), [('red', 9, 9, 48, 40), ('blue', 17, 49, 48, 88)]),
    'high2': ((64, 96), [('blue', 9, 33, 56, 80)]),
    'empty': ((80, 80), []),
}
TINY_SETS = {'train': ['wide1', 'wide2', 'wide3', 'high1', 'high2', 'empty'], 'val': ['wide1', 'high2'],
             'test': ['wide1', 'high1', 'wide3']}
TINY_COLOURS = {'red': (30, 30, 220), 'blue': (220, 60, 30)}  # B, G, R

TINY_CONFIG = {
    'symbol': 'small_rfcn',
    'SCALES': [64, 96],
    'network': {'PIXEL_MEANS': [103.0, 116.0, 123.0], 'FIXED_PARAMS': [], 'ANCHOR_SCALES': [1, 2, 4],
                'ANCHOR_RATIOS': [0.5, 1, 2], 'POOLED_SIZE': 3, 'CONV_NEW_CHANNELS': 16, 'RPN_CHANNELS': 16,
                'SMALL_CHANNELS': [4, 8, 8, 16], 'SMALL_BLOCKS': 1},
    'dataset': {'dataset': 'PascalVOC', 'image_set': 'train', 'test_image_set': 'test', 'CLASSES': ['blue', 'red']},
    'TRAIN': {'model_prefix': 'tiny', 'lr': 0.01, 'end_epoch': 1, 'FLIP': False, 'BATCH_IMAGES': 2,
              'ENABLE_OHEM': True, 'BATCH_ROIS': -1, 'BATCH_ROIS_OHEM': 8, 'CXX_PROPOSAL': False, 'RPN_BATCH_SIZE': 32,
              'RPN_PRE_NMS_TOP_N': 100, 'RPN_POST_NMS_TOP_N': 16, 'RPN_MIN_SIZE': 0,
              'BBOX_NORMALIZATION_PRECOMPUTED': True},
    'TEST': {'BATCH_IMAGES': 2, 'CXX_PROPOSAL': False, 'RPN_PRE_NMS_TOP_N': 100,
             'RPN_POST_NMS_TOP_N': 16, 'RPN_MIN_SIZE': 0},
}


def pytest_make_parametrize_id(config, val, argname):
    """Names of tests that can be read: of a long text its beginning, bytes by their number, lists by their items."""
    if isinstance(val, bytes) and len(val) > 16:
        return 'bytes%d' % len(val)
    if isinstance(val, (list, tuple)) and all(isinstance(item, str) for item in val):
        val = ' '.join(val) or 'none'
    elif isinstance(val, (list, tuple, dict)) and is_plain(val):
        val = str(val)
    if isinstance(val, BaseException):
        val = repr(val)
    if not isinstance(val, str):
        return None
    text = val if len(val) <= LONGEST_ID else '%s..%d' % (val[:LONGEST_ID], len(val))
    return text.encode('unicode_escape').decode()


def is_plain(val):
    """Whether the text of a value is the same in each process, which the name of a test must be."""
    if isinstance(val, dict):
        return is_plain(list(val.items()))
    return val is None or isinstance(val, (str, int, float)) \
        or isinstance(val, (list, tuple)) and all(is_plain(item) for item in val)


def numpy_names():
    """Python text that gives MXNet the names that today's NumPy lacks, for processes without this project."""
    return '\n'.join(
        ['import numpy as np, builtins'] + ['vars(np).setdefault(%r, builtins.%s)' % (name, name)
                                            for name in ('bool', 'int', 'float', 'object')]
        + ['vars(np).setdefault(%r, 0.0)' % name for name in SAME]
        + ['vars(np).setdefault(%r, vars(np).get(%r))' % pair for pair in RENAMED.items()]
        + ['vars(np).setdefault(%r, None)' % name for name in FINANCIAL + ('msort',)]) + '\n'


@pytest.fixture(scope='session')
def golden():
    """The folder with the numbers that the original's own code computed."""
    return ROOT / 'tests' / 'vectors' / 'release'


@pytest.fixture(scope='session')
def pictures():
    """The photographs that some of these numbers were computed from; the test is skipped where they are absent."""
    folder = Path(os.environ.get('RFCN_PICTURES', ROOT.parent / 'shared' / 'golden' / 'images'))
    if not folder.is_dir():
        pytest.skip("the original's demo pictures are not here: set RFCN_PICTURES to their folder")
    return folder


def tiny_annotation(size, objects):
    """The text of a VOC annotation."""
    corners = '<xmin>%d</xmin><ymin>%d</ymin><xmax>%d</xmax><ymax>%d</ymax>'
    boxes = ''.join(('<object><name>%s</name><bndbox>' + corners + '</bndbox></object>') % item for item in objects)
    size = '<size><width>%d</width><height>%d</height><depth>3</depth></size>' % size
    return '<annotation>%s%s</annotation>' % (size, boxes)


def write_tiny_voc(folder):
    """Coloured rectangles on noise in the layout of VOC; `folder` must not exist. Returns it."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / name).mkdir(parents=True)
    noise = np.random.RandomState(0)
    for name, (size, objects) in TINY_IMAGES.items():
        picture = noise.randint(90, 150, size=size[::-1] + (3,)).astype(np.uint8)
        for label, x1, y1, x2, y2 in objects:
            picture[y1 - 1:y2, x1 - 1:x2] = TINY_COLOURS[label]
        cv2.imwrite(str(folder / 'JPEGImages' / (name + '.jpg')), picture)
        (folder / 'Annotations' / (name + '.xml')).write_text(tiny_annotation(size, objects))
    for image_set, names in TINY_SETS.items():
        (folder / 'ImageSets' / 'Main' / (image_set + '.txt')).write_text('\n'.join(names) + '\n')
    return folder


@contextlib.contextmanager
def kept_log_handlers():
    """Scripts give the root logger handlers of their own and take away pytest's: as before at the end."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers).difference(handlers):
        with contextlib.suppress(OSError):      # of a log on a full disk
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def killed_before(monkeypatch):
    """A function (name): from now on the process is killed where a file of that name is put in its place."""
    def patch(name):
        def replace_or_end(temporary, target):
            if os.path.basename(target) == name:
                raise KeyboardInterrupt
            replace(temporary, target)
        replace = os.replace
        monkeypatch.setattr(os, 'replace', replace_or_end)
    return patch


@pytest.fixture(autouse=True)
def nothing_left_to_compute():
    """The next test may start a process: see `wait_before_fork`."""
    yield
    wait_before_fork()


@pytest.fixture(autouse=True)
def log_handlers():
    """See `kept_log_handlers`."""
    with kept_log_handlers():
        yield


@pytest.fixture(autouse=True)
def no_seeds():
    """Operators draw from NumPy's global source until a loader's batch brings seeds."""
    yield
    if 'rfcn.operator_py' in sys.modules:
        sys.modules['rfcn.operator_py']._sources.clear()


@pytest.fixture(scope='session')
def tiny_voc(tmp_path_factory):
    """Folder of six pictures of up to 96 pixels with two classes, one without objects. Not to be changed."""
    return write_tiny_voc(tmp_path_factory.mktemp('tiny') / 'voc')


@pytest.fixture
def own_tiny_voc(tmp_path):
    """The same data set for one test alone, to be damaged."""
    return write_tiny_voc(tmp_path / 'voc')


def write_tiny_yaml(path, data, output):
    """A configuration of a tiny network on the data set in the folder `data`. Returns its path as text."""
    dataset = dict(TINY_CONFIG['dataset'], dataset_path=str(data), root_path=str(data))
    path.write_text(yaml.safe_dump(dict(TINY_CONFIG, output_path=str(output), dataset=dataset)))
    return str(path)


@pytest.fixture
def tiny_yaml(tiny_voc, tmp_path):
    """A function (folder of the data) -> path of a YAML file: a tiny network that writes to tmp_path/output."""
    return lambda folder=tiny_voc: write_tiny_yaml(tmp_path / 'tiny.yaml', folder, tmp_path / 'output')


@pytest.fixture(scope='session')
def tiny_run(tiny_voc, tmp_path_factory):
    """The folder of a training of one epoch: config.yaml, tiny-0001.params, ... Not to be changed."""
    from rfcn import train_end2end
    folder = tmp_path_factory.mktemp('run')
    with kept_log_handlers():
        train_end2end.main(['--cfg', write_tiny_yaml(folder / 'tiny.yaml', tiny_voc, folder / 'output')])
    return folder / 'output' / 'tiny' / 'train'


@pytest.fixture(scope='session')
def tiny_params(tiny_run):
    """The path of the parameters of `tiny_run`, a text."""
    return str(tiny_run / 'tiny-0001.params')


@pytest.fixture
def tiny_arguments(tiny_run, tiny_params):
    """Words of a command that uses `tiny_run`."""
    return ['--cfg', str(tiny_run / 'config.yaml'), '--params', tiny_params]


@pytest.fixture
def tiny_cfg(tiny_yaml):
    """A function (KEY=VALUE, ...) -> the loaded configuration of `tiny_yaml`."""
    from rfcn.config.config import load_config
    return lambda *overrides: load_config(tiny_yaml(), overrides)
