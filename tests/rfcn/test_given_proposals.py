"""The RPN alone, its proposals in files, and R-FCN trained and tested on them."""
import mxnet as mx
import numpy as np
import pytest

from experiments.rfcn import rfcn_given_train_test
from lib.dataset.proposals import load_proposals, save_proposals
from lib.errors import CheckpointError, ConfigError, DatasetError
from rfcn import data_sets, inference, propose, test, train_alternate
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import load_config
from rfcn.core.detect import detect_all
from rfcn.core.image_loaders import image_loader
from rfcn.core.workers import Alone
from rfcn.evaluate import evaluate
from rfcn.inference import GivenRoisPredictor, nms_settings, rfcn_predictor, rpn_predictor
from rfcn.propose import propose_all, sets_with_files, training_rois, with_proposals, without_repetition
from rfcn.symbols import make_symbol


@pytest.fixture
def cfg(tiny_cfg):
    # One image a batch: padding to the largest image of a batch changes the features at the border a little.
    return tiny_cfg('TEST.BATCH_IMAGES=1', 'TEST.PROPOSAL_POST_NMS_TOP_N=16', 'TEST.PROPOSAL_PRE_NMS_TOP_N=100',
                    'TEST.PROPOSAL_MIN_SIZE=0')


def new_params(cfg, folder):
    """The path of a checkpoint of a whole network with first values, larger in the heads: RoIs differ in score."""
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    arg_params, aux_params, _ = init_params(symbol, inference.input_shapes(cfg))
    for name in arg_params:
        if name.startswith(('rpn_cls', 'rfcn')) and name.endswith('_weight'):
            arg_params[name] *= 3  # not more: scores of exactly 1 tie, and ties have no order
    path = str(folder / 'new-0000.params')
    checkpoint.save_params(path, arg_params, aux_params)
    return path


def test_rfcn_on_the_proposals_of_its_rpn_detects_what_the_whole_network_detects(cfg, tmp_path):
    params = new_params(cfg, tmp_path)
    path, = propose.make_proposals(cfg, tmp_path, params, 'test')
    imdb, = data_sets.datasets(cfg, 'test')
    _, whole = evaluate(cfg, inference.predictor(cfg, params), imdb)
    loader = image_loader(cfg, with_proposals(imdb, path), proposals=True)
    apart = detect_all(rfcn_predictor(cfg, params), [loader], imdb.num_classes, **nms_settings(cfg))
    assert sum(len(boxes) for boxes in whole[1]) > 10
    for of_class in (1, 2):
        for expected, found in zip(whole[of_class], apart[of_class]):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_rpn_proposals_and_rfcn_by_their_scripts(tiny_yaml, tmp_path):
    arguments = ['--cfg', tiny_yaml(), 'TRAIN.model_prefix=rpn', 'TEST.PROPOSAL_POST_NMS_TOP_N=20',
                 'TEST.PROPOSAL_MIN_SIZE=0']
    train_alternate.main_rpn(arguments)
    for image_set in ('train', 'test'):
        propose.main(arguments + ['--image_set', image_set])
    folder = tmp_path / 'output' / 'tiny'
    assert 'recall of the proposals for voc_train\n6 images, 7 objects' in (folder / 'train' / 'log.txt').read_text()
    arguments[2] = 'TRAIN.model_prefix=rfcn'
    train_alternate.main_given(arguments)
    test.main_given(arguments)
    assert (folder / 'train' / 'rfcn-0001.params').exists() and (folder / 'test' / 'voc_test_detections.pkl').exists()
    assert 'AP@0.5' in (folder / 'test' / 'log.txt').read_text()


def test_the_proposals_of_an_own_file_are_taken(tiny_yaml, tmp_path):
    path = str(tmp_path / 'own.npz')
    box = np.array([[8, 8, 39, 39, 1]], dtype=np.float32)
    save_proposals(path, ['wide1', 'wide2', 'wide3', 'high1', 'high2', 'empty'], [box] * 6)
    arguments = ['--cfg', tiny_yaml(), '--proposals', path]
    train_alternate.main_given(arguments)
    test.main_given(arguments)
    with pytest.raises(FileNotFoundError, match='nothing.npz.*rfcn propose can write one'):
        train_alternate.main_given(['--cfg', tiny_yaml(), '--proposals', 'nothing.npz'])


@pytest.fixture
def box_for_each(tmp_path):
    """The path of a file with one box for each image of the tiny test set."""
    path = str(tmp_path / 'boxes.npz')
    save_proposals(path, ['wide1', 'high1', 'wide3'], [np.array([[8, 8, 39, 39, 1]], dtype=np.float32)] * 3)
    return path


class Elsewhere(Alone):
    """A worker that finds one thing different on the others."""

    def __init__(self, different):
        self.different, self.compared = different, []

    def check_equal(self, what, text, remedy):
        self.compared.append(what)
        if what == self.different:
            raise ConfigError('%s is not the same for all workers. %s' % (what, remedy))


@pytest.mark.parametrize('what, file', [('the checkpoint', 'new-0000.params'), ('the file of proposals', 'boxes.npz')])
def test_workers_test_the_same_network_on_the_same_proposals(cfg, tmp_path, box_for_each, monkeypatch, what, file):
    params = new_params(cfg, tmp_path)
    monkeypatch.setattr(test, 'workers', lambda group=Elsewhere(what): group)
    with pytest.raises(ConfigError, match='%s is not the same for all workers. Copy .*%s of the first' % (what, file)):
        test.test_given(cfg, tmp_path, params, box_for_each)


def test_a_test_set_without_an_object_that_counts_is_refused_on_given_proposals_too(tiny_cfg, own_tiny_voc, tmp_path,
                                                                                    box_for_each):
    for path in (own_tiny_voc / 'Annotations').glob('*.xml'):
        path.write_text(path.read_text().replace('</name>', '</name><difficult>1</difficult>'))
    cfg = tiny_cfg('dataset.dataset_path=%s' % own_tiny_voc)
    with pytest.raises(DatasetError, match='voc_test: .*tested on'):
        test.test_given(cfg, tmp_path, new_params(cfg, tmp_path), box_for_each)


def test_detections_on_given_proposals_are_not_taken_for_those_of_the_whole_network(cfg, tmp_path, box_for_each):
    params, saved = new_params(cfg, tmp_path), tmp_path / 'voc_test_detections.pkl'
    test.test_rcnn(cfg, tmp_path, params)
    whole = saved.read_bytes()
    test.test_given(cfg, tmp_path, params, box_for_each)
    assert saved.read_bytes() != whole
    test.test_rcnn(cfg, tmp_path, params)
    assert saved.read_bytes() == whole


def test_a_training_does_not_go_on_with_other_proposals(tiny_yaml, tmp_path):
    paths = []
    for name, right in ('a', 39), ('b', 40):
        paths.append(str(tmp_path / (name + '.npz')))
        box = np.array([[8, 8, right, 39, 1]], dtype=np.float32)
        save_proposals(paths[-1], ['wide1', 'wide2', 'wide3', 'high1', 'high2', 'empty'], [box] * 6)
    arguments = ['--cfg', tiny_yaml(), 'TRAIN.RESUME=auto', '--proposals']
    train_alternate.main_given(arguments + paths[:1])
    train_alternate.main_given(arguments + paths[:1])
    with pytest.raises(CheckpointError, match='0 are gone and 6 have other boxes or proposals, or another picture'):
        train_alternate.main_given(arguments + paths[1:])


def test_each_image_set_needs_a_file_of_its_own(cfg):
    message = r'expected a file of proposals for each of the image sets train, val, in this order; found 1: a.npz'
    with pytest.raises(ConfigError, match=message):
        sets_with_files(cfg, 'train+val', ['a.npz'])
    with pytest.raises(ConfigError, match='image sets test, in this order; found 2: a.npz, b.npz'):
        sets_with_files(cfg, 'test', ['a.npz', 'b.npz'])


def test_proposals_from_elsewhere_are_looked_into_before_training(tiny_yaml, tmp_path, monkeypatch):
    monkeypatch.setattr(rfcn_given_train_test.train_alternate, 'main_given', lambda argv: pytest.fail('trained'))
    box = [np.array([[8, 8, 39, 39, 1]], dtype=np.float32)]
    save_proposals(str(tmp_path / 'voc_train.npz'), ['wide1', 'wide2', 'wide3', 'high1', 'high2', 'empty'], box * 6)
    arguments = ['--cfg', tiny_yaml(), '--proposal_folder', str(tmp_path)]
    with pytest.raises(FileNotFoundError, match='no proposals of voc_test: expected one of the files .*voc_test.npz'):
        rfcn_given_train_test.main(arguments)
    save_proposals(str(tmp_path / 'voc_test.npz'), ['wide1', 'wide2', 'wide3'], box * 3)
    with pytest.raises(DatasetError, match='voc_test.npz: no proposals for 1 of 3 images, such as high1'):
        rfcn_given_train_test.main(arguments)


def test_proposals_of_somebody_else_must_be_named(tiny_yaml):
    with pytest.raises(ConfigError, match='dataset.proposal is selective_search and not rpn'):
        train_alternate.main_given(['--cfg', tiny_yaml(), 'dataset.proposal=selective_search'])


@pytest.mark.parametrize('native', ['true', 'false'])
def test_both_operators_make_proposals_even_if_there_are_fewer_than_asked_for(native, tiny_cfg, tmp_path):
    # The release cannot build the RPN's test graph with its native operator. A 96 x 64 image has 6 * 4 * 9 anchors.
    cfg = tiny_cfg('TEST.CXX_PROPOSAL=' + native, 'TEST.PROPOSAL_POST_NMS_TOP_N=2000', 'TEST.PROPOSAL_MIN_SIZE=0')
    path, = propose.make_proposals(cfg, tmp_path, new_params(cfg, tmp_path), 'test')
    assert all(1 < len(dets) < 216 for dets in load_proposals(path, ['wide1', 'high1', 'wide3']))


def test_proposals_are_in_pixels_of_the_image_each_once_and_the_best_first(tiny_cfg, tmp_path):
    # The network sees the images at twice their size.
    cfg = tiny_cfg('SCALES=[128, 192]', 'TEST.PROPOSAL_POST_NMS_TOP_N=30', 'TEST.PROPOSAL_MIN_SIZE=0')
    path, = propose.make_proposals(cfg, tmp_path, new_params(cfg, tmp_path), 'test')
    entries = data_sets.datasets(cfg, 'test')[0].gt_roidb()
    for dets, entry in zip(load_proposals(path, ['wide1', 'high1', 'wide3']), entries):
        assert len(np.unique(dets, axis=0)) == len(dets) > 1
        assert np.all(np.diff(dets[:, 4]) <= 0)
        assert np.all(dets[:, [0, 2]] <= entry['width']) and dets[:, 2].max() > 0.9 * (entry['width'] - 1)


@pytest.mark.parametrize('thresh, trained', [(1, 0), (0.5, 1), (0.2, 2)])
def test_given_proposals_train_boxes_from_the_overlap_of_the_configuration_on(tiny_cfg, tmp_path, thresh, trained):
    cfg, path = tiny_cfg('TRAIN.BBOX_REGRESSION_THRESH=%g' % thresh), str(tmp_path / 'given.npz')
    imdb, = data_sets.datasets(cfg, 'train')
    # wide3 has one object, (32, 8, 71, 47). IoU of these proposals with it: 3/4 and 1/4, to a hundredth.
    given = {'wide3': [[32, 8, 71, 37, 1], [32, 8, 41, 47, 1]]}
    save_proposals(path, imdb.image_set_index, [np.array(given.get(name, [[0, 0, 2, 2, 1]]), dtype=np.float32)
                                                for name in imdb.image_set_index])
    entry, = [entry for entry in training_rois(cfg, [path])[0] if 'wide3' in entry['image']]
    assert (entry['bbox_targets'][1:, 0] > 0).sum() == trained      # the first RoI is the object


def test_rows_that_an_operator_repeats_are_dropped():
    dets = np.array([[0, 0, 9, 9, 0.9], [5, 5, 9, 9, 0.8], [0, 0, 9, 9, 0.9]], dtype=np.float32)
    np.testing.assert_array_equal(without_repetition(dets), dets[:2])


def test_an_image_that_cannot_be_read_has_no_proposals_of_another_one(own_tiny_voc, tiny_yaml, tmp_path):
    (own_tiny_voc / 'JPEGImages' / 'high1.jpg').write_bytes(b'no image')
    cfg = load_config(tiny_yaml(own_tiny_voc), ['dataset.on_bad_image=skip', 'TEST.RPN_MIN_SIZE=0'])
    loader = image_loader(cfg, data_sets.datasets(cfg, 'test')[0].gt_roidb())
    counts = [len(dets) for dets in propose_all(rpn_predictor(cfg, new_params(cfg, tmp_path)), loader)]
    assert counts[0] > 0 and counts[1] == 0 and counts[2] > 0


def test_an_image_without_proposals_gets_itself_for_one(cfg, tmp_path):
    imdb, = data_sets.datasets(cfg, 'test')
    save_proposals(str(tmp_path / 'p.npz'), imdb.image_set_index, [np.zeros((0, 5), dtype=np.float32)] * 3)
    wide1 = with_proposals(imdb, str(tmp_path / 'p.npz'))[0]
    assert wide1['proposals'].tolist() == [[0, 0, 95, 63, 0]]


def test_proposals_of_other_images_are_refused(cfg, tmp_path):
    imdb, = data_sets.datasets(cfg, 'test')
    save_proposals(str(tmp_path / 'p.npz'), ['wide1'], [np.zeros((0, 5), dtype=np.float32)])
    with pytest.raises(DatasetError, match='no proposals for 2 of 3 images, such as high1'):
        with_proposals(imdb, str(tmp_path / 'p.npz'))


def test_the_rois_are_among_the_outputs():
    class Recorder:
        def predict_each(self, batches):
            self.rois = batches[0].data[1].asnumpy()
            return [{'cls_prob': 1}]

    recorder = Recorder()
    rois = np.zeros((4, 2, 5), dtype=np.float32)
    rois[:, :, 0] = np.arange(4)[:, None]
    batch = mx.io.DataBatch([mx.nd.zeros((4, 3, 8, 8)), mx.nd.zeros((4, 3)), mx.nd.array(rois)])
    outputs, = GivenRoisPredictor(recorder).predict_each([batch])
    np.testing.assert_array_equal(recorder.rois, rois)
    np.testing.assert_array_equal(outputs['rois'], rois)
    assert outputs['cls_prob'] == 1


@pytest.mark.parametrize('make', [rpn_predictor, rfcn_predictor])
def test_a_checkpoint_of_another_network_is_refused(make, cfg, tiny_cfg, tmp_path):
    params = new_params(cfg, tmp_path)
    with pytest.raises(CheckpointError, match='does not fit the network'):
        make(tiny_cfg('network.SMALL_CHANNELS=[4, 8, 12, 16]'), params)
