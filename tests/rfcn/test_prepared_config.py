"""What the configuration of `rfcn prepare` follows from."""
from rfcn.checkpoints.identity import check_fine_tuning
from rfcn.checkpoints.states import identity_of_params
from rfcn.config.config import dump, load_config
from rfcn.prepared_config import FEWEST_EPOCHS, PRETRAINED, SMALL, as_yaml, configuration, schedule


def test_epochs_follow_from_pictures_minutes_and_speed():
    # 200 pictures and their mirror images are 400 updates of 1 s: 60 minutes, less 15 %, are 7.65 epochs
    found = schedule(200, 1.0, 60, PRETRAINED)
    assert (found['end_epoch'], found['lr_step'], found['EVAL_PERIOD']) == (7, '5.25,6.44', 1)
    # a twentieth of the updates at a tenth of the rate, 0.002
    assert (found['warmup'], found['warmup_step'], found['warmup_lr']) == (True, 400 * 7 // 20, 0.0002)
    assert schedule(200, 1.0, 1e6, PRETRAINED)['end_epoch'] == 30
    # 50.5, so 51 batches of four: 12 epochs of 204 s
    assert schedule(101, 4.0, 12.01 * 204 / 60 / 0.85, SMALL)['end_epoch'] == 12


def test_too_few_minutes_are_told(caplog):
    assert schedule(200, 1.0, 1, PRETRAINED)['end_epoch'] == FEWEST_EPOCHS
    assert '1 minutes are 0.1 epochs; trained are 3, in some 24 minutes' in caplog.text     # 20, and 15 % of the whole


def test_the_runs_of_each_folder_have_a_place_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {'SCALES': [300, 500], 'network': {}}
    places = [configuration(folder, ('cat',), found, '')['output_path'] for folder in ('photos/', str(tmp_path / 'x'))]
    assert places == [str(tmp_path / 'output' / name) for name in ('photos', 'x')]


def test_what_an_imported_backbone_needs_is_taken_over_from_its_note(tmp_path):
    (tmp_path / 'resnet_v1_50-0000.yaml').write_text(     # and what somebody wrote into it
        'network: {POOL1: padded, PIXEL_MEANS: [1, 2, 3], pretrained: x}\nTRAIN: {lr: 1}\nseed: 7')
    found = {'SCALES': [300, 500], 'network': {'POOLED_SIZE': 3, 'ANCHOR_SCALES': [2, 4], 'ANCHOR_RATIOS': [1]}}
    network = configuration('photos', ('cat',), found, str(tmp_path / 'resnet_v1_50'))['network']
    assert (network['POOL1'], network['PIXEL_MEANS'], network['POOLED_SIZE']) == ('padded', [1, 2, 3], 3)
    assert network['pretrained'] == str(tmp_path / 'resnet_v1_50') and not {'lr', '', 'seed'} & set(network)
    assert 'POOL1' not in configuration('photos', ('cat',), found, str(tmp_path / 'other'))['network']


def test_training_goes_on_from_an_earlier_detector_whose_anchors_are_as_many(tmp_path):
    earlier = ['network.POOL1=padded', 'network.ANCHOR_SCALES=[3, 5]', 'network.ANCHOR_RATIOS=[1]',
               'TRAIN.BBOX_STDS=[0.2, 0.2, 0.4, 0.4]']
    (tmp_path / 'config.yaml').write_text(dump(load_config(None, earlier)))
    pretrained = str(tmp_path / 'rfcn-best.params')
    for scales, kept in ([2.5, 4.7], [3, 5]), ([2, 3, 4], [2, 3, 4]):
        found = {'SCALES': [300, 500], 'network': {'ANCHOR_SCALES': scales, 'ANCHOR_RATIOS': [1]}}
        (tmp_path / 'prepared.yaml').write_text(as_yaml(configuration('photos', ('cat',), found, pretrained)))
        cfg = load_config(tmp_path / 'prepared.yaml')
        check_fine_tuning(identity_of_params(pretrained), cfg, pretrained)
        assert list(cfg.network.ANCHOR_SCALES) == kept and cfg.network.POOL1 == 'padded'
