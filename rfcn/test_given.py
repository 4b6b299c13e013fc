"""Test R-FCN on proposals from files: `rfcn test_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging

import mxnet as mx

from rfcn import build
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.for_test import load_for_test
from rfcn.cli.run import parse_config, run_folder, start_run
from rfcn.cli.script import run_script
from rfcn.core.detect import save_detections
from rfcn.core.workers import workers
from rfcn.evaluate import detections
from rfcn.proposals import add_argument, proposal_paths, sets_with_files, with_proposals
from rfcn.result import write_result
from rfcn.symbols import make_symbol
from rfcn.training import last_checkpoint

logger = logging.getLogger(__name__)


class GivenRoisPredictor:
    """A `Predictor` of the R-FCN graph that answers as the end-to-end one does: with the RoIs among its outputs.

    Args:
        predictor: of a test graph with inputs data and rois.
    """

    def __init__(self, predictor):
        self.predictor = predictor

    devices = property(lambda self: self.predictor.devices)

    def predict_each(self, batches):
        """See `Predictor.predict_each`; each batch has data, im_info and rois."""
        plain = [mx.io.DataBatch([batch.data[0], batch.data[2]], provide_data=[
            mx.io.DataDesc('data', batch.data[0].shape), mx.io.DataDesc('rois', batch.data[2].shape)])
                 for batch in batches]
        return [dict(outputs, rois=batch.data[2].asnumpy())
                for outputs, batch in zip(self.predictor.predict_each(plain), batches)]


def rfcn_predictor(cfg, params):
    """R-FCN without its RPN, for testing with the parameters of a checkpoint.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
    """
    symbol = make_symbol(cfg).get_symbol_rfcn(is_train=False)
    arg_params, aux_params = load_for_test(cfg, params)
    shapes = {'data': build.input_shapes(cfg)['data'], 'rois': (cfg.TEST.BATCH_IMAGES, 1, 5)}
    checkpoint.check_params(symbol, shapes, arg_params, aux_params, params)
    predictor = build.predictor_of_part(cfg, symbol, ['data', 'rois'], arg_params, aux_params)
    return GivenRoisPredictor(predictor)


def test_given(cfg, folder, params, path):
    """Detect on `dataset.test_image_set`, save the detections, evaluate. Returns the Evaluation of the first worker.

    Args:
        params: path of a checkpoint. path: of the proposals.
    """
    imdb, = build.datasets(cfg, cfg.dataset.test_image_set)
    all_boxes = detections(cfg, rfcn_predictor(cfg, params), with_proposals(imdb, path), proposals=True)
    if not workers().first:
        return None
    save_detections(all_boxes, str(Path(folder) / (imdb.name + '_detections.pkl')))
    evaluation = imdb.evaluate_detections(all_boxes, str(folder))
    logger.info('%s\n%s', params, evaluation.table)
    write_result(cfg, folder, params, evaluation)
    return evaluation


def add_arguments(parser):
    """Of this script."""
    add_argument(parser)
    parser.add_argument('--params', help='checkpoint; by default the one of TEST.test_epoch of the training run')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    params = args.params or last_checkpoint(cfg, args.cfg)
    folder = run_folder(cfg, args.cfg, cfg.dataset.test_image_set)
    with start_run(cfg, folder, params) as cfg:
        paths = args.proposals or proposal_paths(cfg, args.cfg, cfg.dataset.test_image_set)
        (_, path), = sets_with_files(cfg, cfg.dataset.test_image_set, paths)
        test_given(cfg, folder, params, path)


if __name__ == '__main__':
    run_script(main)
