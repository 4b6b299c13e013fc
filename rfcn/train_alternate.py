"""Train R-FCN by alternation: `rfcn train_alternate --cfg X.yaml [KEY=VALUE ...]`; or one of its parts alone.

    rfcn train_rpn --cfg X.yaml [KEY=VALUE ...]                         the RPN; rfcn propose makes proposals with it
    rfcn train_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]    R-FCN on proposals; rfcn test_given tests it

Four steps (Faster R-CNN, section 3.2): an RPN; R-FCN on its proposals; an RPN on the trunk of that R-FCN; R-FCN on the
proposals of that RPN. In the last two the layers that both share are fixed, so that RPN and R-FCN become one network.
Where TRAIN.ALTERNATE.rpn3_epoch is not 0 there are five (R-FCN, section 4.2, in the order of pyR, the authors' Python
version): the second R-FCN starts from the pretrained trunk again and trains it, and a third RPN keeps its layers.
Called again, it continues where it was interrupted.

    rpn1-0003.params, rfcn1-..., rpn2-..., rfcn2-..., rpn3-...   checkpoints of the steps
    rpn1.yaml, ...                                               the settings each was trained with
    rpn1_proposals/, rpn2_proposals/                             what R-FCN was trained on
    <model_prefix>-0000.params                                   the network, to be tested like one trained end to end
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    from rfcn._compat import check_packages
    check_packages()

import inspect
import logging

from lib.errors import CheckpointError, ConfigError
from lib.utils.folders import locked_folder
from lib.utils.whole_file import save_text
from rfcn import data_sets, inference, training
from rfcn.checkpoints import checkpoint, resume, states
from rfcn.checkpoints.identity import Identity, check_resuming, data_change, data_record, settings_of, summary
from rfcn.checkpoints.resume import changed_lines, is_up_to_date, note_text, save_note, training_settings
from rfcn.cli.run import parse_config, start_training
from rfcn.cli.script import run_script
from rfcn.config.config import rois_per_image, with_overrides
from rfcn.core.image_loaders import proposal_scale
from rfcn.core.module import contexts, fixed_param_names
from rfcn.core.schedule import last_epoch
from rfcn.core.target_loaders import anchor_loader, roi_loader
from rfcn.exporters.plain import symbol_beside
from rfcn.precision.cpu import check_device
from rfcn.propose import SETTINGS, add_proposals, make_proposals, proposal_paths, proposals_path, training_rois
from rfcn.symbols import make_symbol

logger = logging.getLogger(__name__)

PROPOSAL_KEYS = ('CXX_PROPOSAL',) + tuple('PROPOSAL_' + name for name in SETTINGS)
STEPS, FIFTH = ('rpn1', 'rfcn1', 'rpn2', 'rfcn2'), 'rpn3'


def train_rpn(cfg, output_path, devices=None, is_step=False):
    """Train to `TRAIN.end_epoch`. Returns the prefix of the checkpoints; arguments as in `rfcn/train_end2end.py`.

    Args:
        is_step: see `training.train`.
    """
    devices = devices or contexts(cfg.gpus)
    symbol = make_symbol(cfg).get_symbol_rpn(is_train=True)
    loader = anchor_loader(cfg, data_sets.training_roidb(cfg), symbol, len(devices))
    return training.train(cfg, symbol, loader, output_path, devices, kind=training.RPN, is_step=is_step)


def train_given(cfg, output_path, paths, devices=None, is_step=False):
    """Train R-FCN without its RPN; arguments and result as of `train_rpn`.

    Args:
        paths: of files of proposals, one for each set of `dataset.image_set`.
    """
    devices = devices or contexts(cfg.gpus)
    roidb, means, stds = training_rois(cfg, paths)
    symbol = make_symbol(cfg).get_symbol_rfcn(is_train=True)
    loader = roi_loader(cfg, roidb, len(devices))

    def unnormalised(arg_params):
        return checkpoint.unnormalised_bbox(arg_params, means, stds, cfg.network.POOLED_SIZE ** 2)
    return training.train(cfg, symbol, loader, output_path, devices, kind=training.RFCN, extra_params=unnormalised,
                          is_step=is_step)


def train_alternate(cfg, folder, devices=None):
    """Train the four or five steps and join the last two.

    Args:
        folder: for all that is written.
        devices: list of mx.Context to train on; by default those that `gpus` names.
    Returns:
        path of the final checkpoint.
    Raises:
        ConfigError: a step without a learning rate or epochs, shared layers that are not fixed, or checkpoints of other
            settings.
        DatasetError, FileNotFoundError: there is no such validation set, or it cannot be read.
    """
    check_config(cfg)
    if cfg.dataset.val_image_set:       # gets proposals too: what is wrong with it is told before the first step
        imdb, = data_sets.datasets(cfg, cfg.dataset.val_image_set)
        imdb.check_headers()
    with locked_folder(folder):
        return _train_steps(cfg, Steps(cfg, folder, devices))


def _train_steps(cfg, steps):
    identity = Identity(training.ALTERNATE, settings_of(cfg), steps.data)
    final = steps.prefix(cfg.TRAIN.model_prefix)
    resume.check_neighbours(final, identity.kind, cfg.TRAIN.OVERWRITE)
    training.write_config(cfg, str(steps.folder), identity)
    rpn1 = steps.train('rpn1')
    rfcn1 = steps.train('rfcn1', proposals=steps.propose(rpn1))
    # Departure: the release starts this step from rfcn1 at the epoch of rpn2, a checkpoint that need not exist.
    rpn2 = steps.train('rpn2', start=rfcn1)
    five = FIFTH in steps_of(cfg)
    rfcn2 = steps.train('rfcn2', start=None if five else rfcn1, proposals=steps.propose(rpn2))
    # Departure: the release has keys for a fifth step and does not read them.
    rpn = steps.train(FIFTH, start=rfcn2) if five else rpn2
    path = combine(cfg, steps.params(rpn), steps.params(rfcn2),
                   checkpoint.params_path(final, checkpoint.FINAL_EPOCH), identity)
    inference_symbol = symbol_beside(cfg)
    if inference_symbol is not None:
        checkpoint.save_symbol(final + checkpoint.SYMBOL_END, inference_symbol)
    return path


def steps_of(cfg):
    """Names of the steps: STEPS, and the fifth if it has epochs."""
    return STEPS + ((FIFTH,) if cfg.TRAIN.ALTERNATE[FIFTH + '_epoch'] else ())


def check_config(cfg):
    """Raise a ConfigError where the steps cannot be trained with this configuration."""
    alternate = cfg.TRAIN.ALTERNATE
    zero = [key for key in (step + end for step in steps_of(cfg) for end in ('_lr', '_epoch')) if not alternate[key]]
    if zero:
        raise ConfigError('alternating training needs values above 0 for TRAIN.ALTERNATE: %s. Give each step its '
                          'learning rate and number of epochs, as resnet_v1_101_voc0712_rfcn_alternate_ohem.yaml does'
                          % ', '.join(zero))
    if not cfg.TRAIN.model_prefix or cfg.TRAIN.model_prefix in STEPS + (FIFTH,):
        raise ConfigError('TRAIN.model_prefix is to name the final checkpoint and must not be empty or one of %s'
                          % ', '.join(STEPS + (FIFTH,)))
    for step in steps_of(cfg):
        training.check_settings(step_config(cfg, step))
    inference.check_part(cfg)   # the proposals are made by a part of the network, an RPN
    check_device(cfg, 'TEST')
    rois_per_image(step_config(cfg, 'rfcn1'))   # raises where they cannot be shared out
    network = make_symbol(cfg)
    rpn, rfcn = network.get_symbol_rpn(is_train=False), network.get_symbol_rfcn(is_train=False)
    shared = set(rpn.list_arguments()) & set(rfcn.list_arguments()) - {'data'}
    free = sorted(shared - set(fixed_param_names(rpn, cfg.network.FIXED_PARAMS_SHARED)))
    if free:
        raise ConfigError('network.FIXED_PARAMS_SHARED must fix all layers that RPN and R-FCN share; it does not fix %s'
                          % ', '.join(free))


def step_config(cfg, name, start=None):
    """The configuration of one step.

    Args:
        name: one of `steps_of(cfg)`.
        start: prefix and epoch of the checkpoint whose shared layers it keeps; None for the pretrained trunk.
    """
    alternate = cfg.TRAIN.ALTERNATE
    images = alternate.RPN_BATCH_IMAGES if name.startswith('rpn') else alternate.RCNN_BATCH_IMAGES
    changes = {'TRAIN.model_prefix': name, 'TRAIN.RESUME': 'auto', 'TRAIN.begin_epoch': 0,
               'TRAIN.end_epoch': alternate[name + '_epoch'], 'TRAIN.lr': alternate[name + '_lr'],
               'TRAIN.lr_step': alternate[name + '_lr_step'], 'TRAIN.BATCH_IMAGES': images or cfg.TRAIN.BATCH_IMAGES}
    if start:
        changes.update({'network.pretrained': start[0], 'network.pretrained_epoch': start[1],
                        'network.FIXED_PARAMS': cfg.network.FIXED_PARAMS_SHARED})
    return with_overrides(cfg, changes)


class Steps:
    """The steps of one run; each does what has not been done yet."""

    def __init__(self, cfg, folder, devices):
        self.cfg = cfg
        self.folder = Path(folder)
        self.devices = devices
        self.data = data_record(data_sets.training_roidb(cfg))

    def prefix(self, name):
        """The prefix of the checkpoints of a step."""
        return str(self.folder / name)

    def params(self, name):
        """The last checkpoint of a step."""
        return checkpoint.params_path(self.prefix(name), self._epoch(name))

    def train(self, name, start=None, proposals=None):
        """Train a step unless its last checkpoint is there.

        Args:
            start: the step whose shared layers are kept. proposals: name of the folder that `propose` filled.
        Returns:
            the name.
        """
        note = self._checked_note(name, start, proposals)
        cfg = step_config(self.cfg, name, start and (self.prefix(start), self._epoch(start)))
        done = self._is_done(name, cfg, training.RFCN if proposals else training.RPN)
        save_text(self._note(name), note)
        if done:
            logger.info('step %s: %s is there', name, self.params(name))
            return name
        logger.info('step %s', name)
        if proposals:
            imdbs = data_sets.datasets(cfg, cfg.dataset.image_set)
            paths = [proposals_path(self.folder / proposals, imdb) for imdb in imdbs]
            train_given(cfg, self.folder, paths, self.devices, is_step=True)
        else:
            train_rpn(cfg, self.folder, self.devices, is_step=True)
        return name

    def _is_done(self, name, cfg, kind):
        """Whether the last checkpoint of a step is there; one of another step, or of other settings or data, which no
        note need have told, is removed with TRAIN.OVERWRITE.

        Raises:
            CheckpointError: its files are damaged or do not belong together, or those of something else stay.
        """
        path = self.params(name)
        if not Path(path).exists():
            return False
        told = states.identity_of_params(path, checkpoint.load_params(path))
        try:
            if told and told.kind:      # of the checkpoint itself, not of config.yaml beside it
                check_resuming(told, told._replace(kind=kind), cfg, path)
                if kind == training.RPN:    # the record of R-FCN has the proposals too; its data are the first step's
                    self._check_data(told.data, path)
        except CheckpointError:
            if not self.cfg.TRAIN.OVERWRITE:
                raise
            resume.make_room(self.prefix(name), overwrite=True)
            return False
        return True

    def _check_data(self, before, path):
        if before and data_change(before, self.data):
            told = [', '.join('%s %s' % item for item in summary(data).items()) for data in (before, self.data)]
            raise CheckpointError('%s was trained on other data (%s; now %s). TRAIN.OVERWRITE=true trains this step '
                                  'anew, another output_path leaves it alone' % (path, *told))

    def propose(self, rpn):
        """Make proposals for training and validation images unless they are there. Returns the name of their folder."""
        name = rpn + '_proposals'
        settings = {key: self.cfg.TEST[key] for key in PROPOSAL_KEYS}
        settings['PROPOSAL_SCALE'] = list(proposal_scale(self.cfg))
        text = note_text(dict(settings, image_set=self.cfg.dataset.image_set), [self._note(rpn)])
        if not is_up_to_date(self._note(name), text):
            (self.folder / name).mkdir(exist_ok=True)
            image_sets = '+'.join(filter(None, [self.cfg.dataset.image_set, self.cfg.dataset.val_image_set]))
            paths = make_proposals(self.cfg, self.folder / name, self.params(rpn), image_sets)
            save_note(self._note(name), text, paths)
        return name

    def _epoch(self, name):
        return last_epoch(self.cfg.TRAIN.ALTERNATE[name + '_epoch'])

    def _note(self, name):
        return self.folder / (name + '.yaml')

    def _checked_note(self, name, start, proposals):
        """The note of what a step is trained with; a ConfigError is raised if it was begun with something else."""
        settings = dict(training_settings(step_config(self.cfg, name)), data=summary(self.data))
        text = note_text(settings, [self._note(source) for source in (start, proposals) if source])
        changed = changed_lines(self._note(name), text)
        if changed and self.cfg.TRAIN.OVERWRITE:
            resume.make_room(self.prefix(name), overwrite=True)
        elif changed:
            raise ConfigError('step %s was trained with other settings or data, which are in %s (now: %s). Remove %s* '
                              'to train it anew (TRAIN.OVERWRITE=true does), or choose another output_path'
                              % (name, self._note(name), ', '.join(changed), self.prefix(name)))
        return text


def combine(cfg, rpn, rfcn, path, identity):
    """Write a checkpoint with the RPN of one checkpoint and everything else of another. Returns `path`.

    Args:
        identity: what it says of itself.
    """
    arg_params, aux_params = checkpoint.load_params(rfcn)
    for_inference, _ = checkpoint.load_params(rfcn, for_inference=True)
    arg_params.update((name, value) for name, value in checkpoint.load_params(rpn)[0].items() if name not in arg_params)
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    source = '%s with the RPN of %s' % (rfcn, rpn)
    checkpoint.check_params(symbol, inference.input_shapes(cfg), arg_params, aux_params, source)
    unnormalised = {name + checkpoint.TEST_SUFFIX: for_inference[name]
                    for name in checkpoint.BBOX_PARAMS if name in for_inference}
    states.save_checkpoint(path, arg_params, aux_params, {}, states.finished(arg_params, aux_params), identity,
                           unnormalised)
    logger.info('wrote %s', path)
    return path


def main(argv=None):
    """Entry point. Returns the path of the final checkpoint."""
    cfg, args = parse_config(__doc__.splitlines()[0], argv)
    with start_training(cfg, args) as (cfg, folder):
        return train_alternate(cfg, folder)


def main_rpn(argv=None):
    """Train the RPN alone: `rfcn train_rpn --cfg X.yaml [KEY=VALUE ...]`. rfcn propose makes proposals."""
    cfg, args = parse_config(inspect.getdoc(main_rpn), argv)
    with start_training(cfg, args) as (cfg, output_path):
        train_rpn(cfg, output_path)


def main_given(argv=None):
    """Train R-FCN on proposals from files: `rfcn train_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]`.

    By default the files are those that rfcn propose wrote; its example writes the file that the example below uses.
    """
    cfg, args = parse_config(inspect.getdoc(main_given), argv, add_proposals)
    with start_training(cfg, args) as (cfg, output_path):
        train_given(cfg, output_path, args.proposals or proposal_paths(cfg, args.cfg, cfg.dataset.image_set))


if __name__ == '__main__':
    run_script(main)
