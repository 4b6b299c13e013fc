"""Validation during a training: its lines in the log, and the best checkpoint."""
import mxnet as mx
import pytest

from lib.dataset.imdb import Evaluation
from lib.errors import ConfigError
from rfcn.checkpoints import checkpoint, states
from rfcn.core.interrupt import StopWish
from rfcn.core.trainer import Trainer, validated_epochs
from rfcn.training import validation
from tests.rfcn.conftest import log_lines


def test_validation_writes_its_metrics_and_keeps_the_best_checkpoint(train):
    prefix = train('a', 'TRAIN.end_epoch=3', 'TRAIN.EVAL_PERIOD=2', 'dataset.val_image_set=val')
    lines = log_lines(prefix, 'val')
    assert [line['epoch'] for line in lines] == [2, 3]  # at its period and at the end
    assert {'mAP@0.5', 'AP@0.5/red', 'AP@0.5/blue'} <= set(lines[0])
    arg_params, _ = checkpoint.load_params(prefix + '-best.params', for_inference=True)
    assert 'rfcn_bbox_weight' in arg_params
    assert states.load_states(checkpoint.states_path(prefix, 3))[1].best == max(line['mAP@0.5'] for line in lines)


def test_a_precision_that_gpus_do_not_have_is_refused_before_the_training_and_not_after_its_first_epoch(tiny_cfg):
    with pytest.raises(ConfigError, match='TEST.PRECISION: bf16 runs on the CPU alone'):
        validation(tiny_cfg('dataset.val_image_set=val', 'TEST.PRECISION=bf16', 'gpus=0'))


def test_a_validation_that_cannot_compute_in_int8_says_so_and_is_that_of_fp32(tiny_cfg, train, caplog):
    settings = ['dataset.val_image_set=val', 'TRAIN.end_epoch=1']
    scores = [log_lines(train(name, *settings, 'TEST.PRECISION=' + name), 'val') for name in ('fp32', 'int8')]
    assert scores[0] == scores[1]
    assert 'TEST.PRECISION is int8, and the validation computes in fp32' in caplog.text
    assert validation(tiny_cfg(*settings, 'TEST.PRECISION=int8', 'gpus=0'))     # no reason to refuse a training on one


class FakeLoader:
    """Of no images."""
    roidb, step_size = [], 1


class FakeModule:
    """Parameters that say which epoch they are of."""
    num_update = learning_rate = 0
    accumulate = 1
    label_names = []

    def get_params(self):
        """One array."""
        return {'weight': mx.nd.ones(1)}, {}

    def momenta(self):
        """None."""
        return {}


def evaluation_of(score):
    return Evaluation(score, {'mAP@0.5': score}, 'table')


def validated(tmp_path, scores, period=100):
    """Numbers of the epochs at which a Trainer kept the best checkpoint, for the scores of each validation."""
    kept = []
    trainer = Trainer(FakeModule(), FakeLoader(), str(tmp_path / 'x'), eval_period=1, period=period,
                      validate=lambda number, *params: (evaluation_of(scores[number - 1]), []),
                      extra_params=lambda arg_params: kept.append(epoch) or {})
    with open(str(tmp_path / 'x-log.jsonl'), 'wb') as trainer._log:
        for epoch in range(1, len(scores) + 1):
            trainer._end_epoch(epoch, 1000, StopWish())
    return kept


def test_the_best_checkpoint_is_that_of_the_highest_score(tmp_path):
    assert validated(tmp_path, [0.2, 0.1, 0.5, 0.5, 0.6]) == [1, 3, 5]


def test_the_checkpoint_of_an_epoch_knows_the_score_of_its_own_validation(tmp_path):
    validated(tmp_path, [0.2, 0.6, 0.5], period=1)
    assert [states.load_states(checkpoint.states_path(str(tmp_path / 'x'), epoch))[1].best
            for epoch in (1, 2, 3)] == [0.2, 0.6, 0.6]


def test_a_validation_set_without_objects_has_no_best_and_a_log_that_is_json(tmp_path):
    assert validated(tmp_path, [float('nan'), 0.2, float('nan'), 0.3]) == [2, 4]
    assert [line['mAP@0.5'] for line in log_lines(str(tmp_path / 'x'), 'val')] == [None, 0.2, None, 0.3]


def test_a_log_that_a_full_disk_does_not_take_is_named(tmp_path):
    trainer = Trainer(FakeModule(), None, str(tmp_path / 'x'))
    with open('/dev/full', 'wb', buffering=0) as trainer._log:
        with pytest.raises(OSError, match='/dev/full cannot be written .No space left on device.; the checkpoints are'):
            trainer._write({'type': 'val'})


def test_the_epochs_that_were_validated_are_read_from_a_log_whatever_else_is_in_it(tmp_path):
    (tmp_path / 'log').write_text('{"type": "val", "epoch": 2}\n{"type": "train", "epoch": 3}\n[]\n3\n{"type": "val"}\n'
                                  '{"type": "val", "epoch": 4}\n{"type": "val", "ep')
    assert validated_epochs(str(tmp_path / 'log')) == {2, 4}
