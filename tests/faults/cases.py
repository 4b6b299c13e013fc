"""The commands that write, each with small inputs, what a user would run after it, and what its result is."""
import functools
import http.server
import importlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable, List, NamedTuple, Sequence

ROOT = Path(__file__).resolve().parents[2]
RFCN = [sys.executable, '-W', 'ignore', '-m', 'rfcn']
TRAIN = RFCN + ['train', '--cfg', 'tiny.yaml', 'TRAIN.RESUME=auto', 'TRAIN.end_epoch=2']
RUN = 'output/tiny/train'
STEPS = ['TRAIN.ALTERNATE.%s_%s' % (step, value) for step in ('rpn1', 'rfcn1', 'rpn2', 'rfcn2')
         for value in ('epoch=1', 'lr=0.01', 'lr_step=')]     # of an alternation
STEPS += ['network.FIXED_PARAMS_SHARED=[conv1,bn_conv1,res2,bn2,res3,bn3,res4,bn4]']
GIVEN = 'TRAIN.model_prefix=given'      # beside the RPN that made the proposals
OF_RUN = ['--cfg', RUN + '/config.yaml', '--params', RUN + '/tiny-0001.params']


class Case(NamedTuple):
    """A command and what is around it. All paths are relative to the folder that it works in."""
    prepare: Callable           # function (folder): writes the inputs
    command: List[str]          # what is disturbed
    exact: Sequence[str]        # patterns of files that must be equal to the byte to those of an undisturbed run
    reader: List[str] = ()      # what makes use of the output: it is refused, or prints what it prints undisturbed
    then: List[str] = ()        # what the user runs next; by default the command again


def run_in(folder, command):
    """Run a command that prepares a case."""
    subprocess.run(command, cwd=str(folder), check=True, env=dict(os.environ, PYTHONPATH=str(ROOT)),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def data_set(folder):
    """The tiny data set, and a configuration of a tiny network on it."""
    from tests.conftest import write_tiny_voc, write_tiny_yaml
    write_tiny_voc(folder / 'voc')
    write_tiny_yaml(folder / 'tiny.yaml', 'voc', 'output')


def trained(folder):
    """The same, and a training of one epoch."""
    data_set(folder)
    run_in(folder, RFCN + ['train', '--cfg', 'tiny.yaml', 'TRAIN.RESUME=auto'])


def quantized_before(folder):
    """The same, and an INT8 model that another calibration made, as a second `rfcn quantize` finds it."""
    trained(folder)
    run_in(folder, RFCN + ['quantize'] + OF_RUN + ['TEST.QUANTIZE.CALIB_IMAGES=2'])


def rpn_trained(folder):
    """The same, and an RPN of one epoch, alone."""
    data_set(folder)
    run_in(folder, RFCN + ['train_rpn', '--cfg', 'tiny.yaml'])


def proposed(folder):
    """The same, and its proposals for both sets."""
    rpn_trained(folder)
    for image_set in ('train', 'test'):
        run_in(folder, RFCN + ['propose', '--cfg', 'tiny.yaml', '--image_set', image_set])


def trained_on_proposals(folder):
    """The same, and an R-FCN of one epoch on them."""
    proposed(folder)
    run_in(folder, RFCN + ['train_given', '--cfg', 'tiny.yaml', GIVEN])


def tested(folder):
    """A training of one epoch, tested."""
    trained(folder)
    run_in(folder, RFCN + ['test'] + OF_RUN)


def boxes_to_mend(folder):
    """The data set with a box that sticks out and one that has no side."""
    data_set(folder)
    path = folder / 'voc' / 'Annotations' / 'wide1.xml'
    path.write_text(path.read_text().replace('<xmax>88<', '<xmax>188<').replace('<xmax>40<', '<xmax>9<'))


def unsplit(folder):
    """Pictures and annotations side by side, without sets."""
    data_set(folder)
    (folder / 'photos').mkdir()
    for path in list((folder / 'voc' / 'JPEGImages').iterdir()) + list((folder / 'voc' / 'Annotations').iterdir()):
        shutil.copy(str(path), str(folder / 'photos'))


def converted(kind):
    """A function (folder): the data set in another format."""
    def write(folder):
        data_set(folder)
        run_in(folder, convert('voc', kind, 'voc', kind))
    return write


def convert(source, target, dataset, out, sets='train,test'):
    """The command."""
    return RFCN + ['convert', '--from', source, '--to', target, '--dataset', dataset, '--sets', sets, '--out',
                   out]


def check(kind, folder):
    """The checker on a converted data set."""
    return RFCN + ['check', '--cfg', 'tiny.yaml', 'dataset.dataset=' + kind, 'dataset.dataset_path=' + folder]


def conversion(source, target):
    """The case of one conversion."""
    kind = {'voc': 'PascalVOC'}.get(target, target)
    if source == 'voc':
        return Case(data_set, convert(source, target, source, 'out'), ('out/*',), check(kind, 'out'))
    # the sets have pictures of the same names, which VOC cannot hold
    return Case(converted(source), convert(source, target, source, 'out', 'train'), ('out/*',),
                check(kind, 'out') + ['dataset.test_image_set=train'])


def gluoncv_file(folder):
    """Parameters of a classifier as GluonCV saves them, with random values."""
    import rfcn  # noqa: F401  the names that MXNet needs of NumPy
    mx, model_zoo = importlib.import_module('mxnet'), importlib.import_module('gluoncv.model_zoo')
    net = model_zoo.get_model('resnet18_v1', pretrained=False)
    net.initialize()
    net(mx.nd.zeros((1, 3, 64, 64)))
    net.save_parameters(str(folder / 'resnet18_v1.params'))


# --- a small archive on a server of our own; data/fetch.py's own archives are gigabytes ---

FETCH = """
import sys
from data.archives import Archive
from data.fetch import fetch
from rfcn.cli.script import run_script

def main(argv=None):
    archive = Archive(sys.argv[1] + '/voc.tar', sys.argv[2], 0, 0, '', 'VOCdevkit/VOC2007/list.txt')
    fetch([archive], 'data', retries=2, timeout=5, pause=0.01)

run_script(main)
"""


def make_archive(folder):
    """A tar of eight files; returns its MD5 sum."""
    import hashlib
    import io
    import tarfile
    with tarfile.open(str(folder / 'voc.tar'), 'w') as archive:
        for name in ['list.txt'] + ['%d.jpg' % number for number in range(7)]:
            info = tarfile.TarInfo('VOCdevkit/VOC2007/' + name)
            content = name.encode() * 5000
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return hashlib.md5((folder / 'voc.tar').read_bytes()).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *args):
        pass


def fetching(folder):
    """The case of `rfcn fetch`: starts a server that serves an archive in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    checksum = make_archive(folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, '-c', FETCH, 'http://127.0.0.1:%d' % server.server_port, checksum]
    return Case(lambda folder: None, command, ('data/VOCdevkit/*',))


CASES = {
    'train': Case(data_set, TRAIN, ('*.params', '*.states')),
    'resume': Case(trained, TRAIN, ('*.params', '*.states')),
    'train with validation': Case(data_set, TRAIN + ['dataset.val_image_set=test', 'TRAIN.EVAL_PERIOD=1'],
                                  ('*.params', '*.states')),
    'propose': Case(rpn_trained, RFCN + ['propose', '--cfg', 'tiny.yaml', '--image_set', 'train'], ('*_rpn.npz',)),
    'train_rpn': Case(data_set, RFCN + ['train_rpn', '--cfg', 'tiny.yaml', 'TRAIN.RESUME=auto', 'TRAIN.end_epoch=2'],
                      ('*.params', '*.states')),
    'train_given': Case(proposed, RFCN + ['train_given', '--cfg', 'tiny.yaml', 'TRAIN.RESUME=auto', GIVEN],
                        ('*.params', '*.states')),
    'test_given': Case(trained_on_proposals, RFCN + ['test_given', '--cfg', 'tiny.yaml', GIVEN],
                       ('*_detections.pkl', 'output/*/results/*')),
    'alternate': Case(data_set, RFCN + ['train_alternate', '--cfg', 'tiny.yaml', 'TRAIN.RESUME=auto'] + STEPS,
                      ('*.params',)),
    'test': Case(trained, RFCN + ['test'] + OF_RUN + ['--report', 'report'],
                 ('*_detections.pkl', '*_detections.npz', 'output/*/results/*')),
    'report': Case(tested, RFCN + ['report', '--cfg', RUN + '/config.yaml', '--out', 'report'], ()),  # holds the time
    'explain': Case(trained, RFCN + ['explain'] + OF_RUN + ['--image', 'voc/JPEGImages/wide1.jpg', '--out', 'why'],
                    ('why/*',)),
    'demo': Case(trained, RFCN + ['demo'] + OF_RUN + ['--image', 'voc/JPEGImages', '--out', 'drawn', '--json',
                                                      'found.jsonl', '--coco', 'found.json', '--voc', 'found_voc',
                                                      '--yolo', 'found_yolo', '--thresh', '0.01'],
                 ('drawn/*', 'found*')),
    'quantize': Case(quantized_before, RFCN + ['quantize'] + OF_RUN + ['TEST.QUANTIZE.CALIB_IMAGES=4'],
                     ('*.params', '*-symbol.json'),
                     RFCN + ['test', '--cfg', RUN + '/config.yaml', '--params', RUN + '/tiny-0001-int8-0000.params',
                             'TEST.PRECISION=int8']),
    'export to onnx': Case(trained, RFCN + ['export'] + OF_RUN + ['--out', 'model.onnx'], ('model.onnx',)),
    'export to mxnet': Case(trained, RFCN + ['export'] + OF_RUN + ['--out', 'plain-symbol.json'], ('plain*',)),
    'import': Case(gluoncv_file, RFCN + ['import', '--mxnet', 'resnet18_v1.params', '--output', 'pretrained'],
                   ('pretrained/*',)),
    'convert voc to coco': conversion('voc', 'coco'),
    'convert voc to csv': conversion('voc', 'csv'),
    'convert voc to yolo': conversion('voc', 'yolo'),
    'convert coco to voc': conversion('coco', 'voc'),
    'check --fix': Case(boxes_to_mend, RFCN + ['check', '--cfg', 'tiny.yaml', '--html', 'page.html', '--fix', 'out'],
                        ('out/*',), check('PascalVOC', 'out')),
    'prepare': Case(unsplit, RFCN + ['prepare', 'photos'], ('photos/*.csv',)),
}
