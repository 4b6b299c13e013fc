"""Running a row from nothing to its number: data, weights, training, test; or testing a network that is there."""
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from experiments.demo.make_dataset import make_dataset
from experiments.rfcn import rfcn_alternate_train_test, rfcn_end2end_train_test, rfcn_given_train_test
from experiments.rows.table import ALTERNATE, END2END, GIVEN, ROOT, TEST, find_row
from lib.errors import UserError
from rfcn import import_backbone, test
from rfcn.checkpoints.checkpoint import FINAL_EPOCH, params_path
from rfcn.checkpoints.identity import CLASSES, backbone_settings, meaning_keys, settings_of
from rfcn.cli.run import run_folder
from rfcn.cli.script import Signalled
from rfcn.config.config import flatten, load_config
from rfcn.core.module import contexts

logger = logging.getLogger(__name__)

TRAIN_AND_TEST = {END2END: rfcn_end2end_train_test.main, ALTERNATE: rfcn_alternate_train_test.main,
                  GIVEN: rfcn_given_train_test.main}
GLUONCV = 'resnet%s_v1'  # of its model zoo; stride in the 1x1 convolution, as in the release


def run(row, overrides=()):
    """Do all that a row needs and run it."""
    if row.script:
        call(['bash', str(row.script_path)] + list(overrides))
        return
    overrides = list(overrides)
    cfg = load_config(row.cfg_path, overrides)
    contexts(cfg.gpus)  # an error for GPUs that are not here, before hours of loading
    fetch_data(cfg)
    if row.starts_from:
        train_first(find_row(row.starts_from), overrides)
    run_scripts(row, overrides + trunk_settings(row, overrides))


def test_published(row, params, overrides=()):
    """Test a network that is there, such as one of `rfcn import`, on a row's images. Nothing is trained.

    Args:
        params: path of its parameters; a config.yaml beside them says what must be as the network was trained.
    Raises:
        UserError: the row tests on proposals from files.
    """
    if row.kind == GIVEN:
        raise UserError('%s tests on proposals from files: rfcn test_given --cfg %s --params %s --proposals FILE'
                        % (row.name, *(shlex.quote(str(path)) for path in (row.cfg_path, params))))
    overrides = settings_beside(params) + list(overrides)
    cfg = load_config(row.cfg_path, overrides)
    contexts(cfg.gpus)
    fetch_data(cfg, [cfg.dataset.test_image_set])
    from experiments.rows import hours, schedule  # they take a second
    images = schedule.test_images(cfg)
    seconds = hours.test_pixels(cfg) * hours.MeasuredSeconds()(cfg, hours.WHOLE, False, hours.FP32)
    logger.info('%d images at %.2f s: about %.1f hours on this machine in fp32, all else being quick', images, seconds,
                images * seconds / 3600)
    test.main(['--cfg', str(row.cfg_path)] + overrides + ['--params', str(params)])


def settings_beside(params):
    """KEY=VALUE texts of what must be as the network was trained, from the config.yaml beside a parameter file.

    An empty list where there is no such file.
    """
    path = Path(params).parent / 'config.yaml'
    if not path.is_file():
        return []
    stated = flatten(load_config(str(path)))
    return ['%s=%s' % (key, json.dumps(stated[key]))
            for key in meaning_keys() + [CLASSES, 'TEST.RPN_MIN_SIZE', 'TEST.CXX_PROPOSAL'] if stated[key] != ()]


def trunk_settings(row, overrides):
    """`weight_settings` of the row that trains the trunk, this one or the one that it starts from."""
    row = find_row(row.starts_from) if row.starts_from else row
    return weight_settings(load_config(row.cfg_path, overrides))


def call(command):
    """Run a program in the project's folder; a script of ours with this Python.

    Raises a UserError if it fails; it has said why. Where this process is to end, so is the program, and it is waited
    for: a training writes a checkpoint first.
    """
    with subprocess.Popen(command, cwd=str(ROOT), env=dict(os.environ, PYTHON=sys.executable)) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt as error:
            if isinstance(error, Signalled):    # Ctrl-C has reached the program, too
                process.send_signal(error.number)
            process.wait()
            raise
    if status:
        raise UserError('%s ended with status %d' % (' '.join(command), status))


def run_scripts(row, overrides, arguments=()):
    """The scripts of a row, with the data and the weights in place.

    Args:
        arguments: further arguments of the script.
    """
    arguments = ['--cfg', str(row.cfg_path)] + list(overrides) + list(arguments)
    if row.kind == TEST:
        test.main(arguments + ['--params', str(final_params(find_row(row.starts_from), overrides))])
    else:
        TRAIN_AND_TEST[row.kind](arguments)


def train_first(row, overrides):
    """Run the row that another one starts from, unless its network is there."""
    if not final_params(row, overrides).is_file():
        logger.info('%s comes first', row.name)
        run(row, overrides)


def final_params(row, overrides=()):
    """The network that alternating training writes last."""
    cfg = load_config(row.cfg_path, list(overrides))
    prefix = run_folder(cfg, row.cfg_path, cfg.dataset.image_set) / cfg.TRAIN.model_prefix
    return Path(params_path(str(prefix), FINAL_EPOCH))


def fetch_data(cfg, image_sets=None):
    """Load or draw the image sets of a configuration that looks for them in the project's data folder, once.

    Args:
        image_sets: names; those for training and for testing by default.
    """
    folder = Path(cfg.dataset.dataset_path)
    kind = {ROOT / 'data' / 'VOCdevkit': 'voc', ROOT / 'data' / 'coco': 'coco'}.get(folder)
    if folder == ROOT / 'data' / 'demo':
        make_dataset(folder)
    elif kind:
        sets = '+'.join(image_sets or [cfg.dataset.image_set, cfg.dataset.test_image_set]).split('+')
        packages = sorted({package_of(image_set) for image_set in sets})
        call([sys.executable, str(ROOT / 'data' / 'fetch.py'), kind] + packages)


def package_of(image_set):
    """What data/fetch.py calls the archives of an image set: 2007_trainval -> 2007, test-dev2015 -> test2015."""
    if re.match(r'\d{4}_', image_set):
        return '2012test' if image_set == '2012_test' else image_set[:4]
    name, year = re.fullmatch(r'(\D+)(\d{4})', image_set).groups()
    return 'test' + year if name.startswith('test') else 'minival' if 'minival' in name else year


def weight_settings(cfg):
    """Make the trunk's weights of GluonCV's where there are none. Returns the KEY=VALUE to use them with.

    Weights that are there are used as they are: put the release's own file, Caffe's ResNet, in their place before the
    first run. GluonCV's networks pad before pool1, which the importer notes beside them.
    """
    prefix = Path(cfg.network.pretrained)
    depth = re.fullmatch(r'resnet_v1_(\d+)', prefix.name)
    if not depth:
        return []
    path = params_path(str(prefix), cfg.network.pretrained_epoch)
    if not Path(path).is_file():
        logger.warning('%s is not there: it is made of GluonCV\'s %s. The release, MatR and pyR start from Caffe\'s; '
                       'docs/rows.md, "The trunk", tells the difference', path, GLUONCV % depth.group(1))
        import_backbone.convert('gluoncv', GLUONCV % depth.group(1), prefix.parent)
    own = settings_of(cfg)
    needed = ['%s=%s' % (key, value) for key, value in backbone_settings(path).items() if value != own[key]]
    logger.info('starting from %s, %s', path, 'with ' + ', '.join(needed) if needed else 'as it was put there')
    return needed
