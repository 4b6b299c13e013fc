"""The rows' schedules in images beside the published ones, and their settings key by key beside a snapshot.

After a deliberate change of a row: `python -m tests.experiments.test_schedules` writes the snapshot anew.
"""
import json
from pathlib import Path

import pytest

from experiments import reproduce
from experiments.rows.explain import comments, explain
from experiments.rows.schedule import row_steps, steps
from experiments.rows.table import ALTERNATE, END2END, ROOT, ROWS, find_row
from rfcn.config.config import base_files, flatten, load_config, thaw
from rfcn.core.image_loaders import detection_scales, proposal_scale

SNAPSHOT = Path(__file__).with_name('resolved_rows.json')
PUBLISHED_ROWS = [row for row in ROWS if row.name.startswith(('paper_', 'resnet_'))]

# Rate of an image, images at that rate, images in all.
VOC = (0.0005, 160000, 240000)          # paper, section 2: 20k and 10k updates of 8; rate: MatR, pyR, the release
VOC_RPN = (0.001, 60000, 80000)         # pyR, stage1_rpn_solver60k80k.pt, one image an update
COCO = (0.0005, 720000, 960000)         # paper, section 4.2: 90k and 30k updates of 8; pyR: 360k and 120k of 2
COCO_RPN = (0.001, 360000, 480000)      # pyR, stage1_rpn_solver360k480k.pt
HE_RPN = (0.000125, 1920000, 2560000)   # He et al. 2016, appendix A: 240k and 80k updates of 8, 0.001 a mean of them
HE = (0.0000625, 3840000, 5120000)      # and of 16
RELEASE_VOC = (0.0005, 159900, 231714)  # 4.83 and 7 epochs of 33,102
RELEASE_COCO = (0.0005, 1315000, 1972592)   # 5.333 and 8 epochs of 246,574
RELEASE_STEPS = [(0.0005, 66204, 99306), (0.0005, 165510, 264816)] * 2  # drops at 2 of 3 and 5 of 8 epochs, config.py


def published(row):
    """The expected triples of a row's steps."""
    if row.name.startswith('resnet_'):
        return RELEASE_STEPS if row.kind == ALTERNATE else [RELEASE_COCO if 'coco' in row.name else RELEASE_VOC]
    if row.name == 'paper_coco_val_faster_rcnn':
        return [HE_RPN, HE] * 2
    if row.name.startswith('paper_coco'):
        return [COCO_RPN, COCO] * 2 + [COCO_RPN]
    return [VOC_RPN, VOC] * 2 if row.kind == ALTERNATE else [VOC]


@pytest.mark.parametrize('row', PUBLISHED_ROWS, ids=lambda row: row.name)
def test_rates_and_images_are_the_published_ones(row):
    found = row_steps(row)
    assert [step.rate for step in found] == pytest.approx([rate for rate, _, _ in published(row)])
    for step, (_, at_rate, in_all) in zip(found, published(row)):
        assert step.drops == (pytest.approx(at_rate, rel=0.0005),) and step.images == pytest.approx(in_all, rel=0.0005)
    # The release warms up over 4,000 images of VOC and 8,000 of COCO, at a tenth of the rate; He et al. do not.
    on_coco = row.name.startswith(('paper_coco', 'resnet_v1_101_coco'))
    assert {step.warmup for step in found} == {0 if 'coco_val_faster' in row.name else 8000 if on_coco else 4000}
    assert all(step.warmup_rate == pytest.approx(0.00005) for step in found if step.warmup)


@pytest.mark.parametrize('row', PUBLISHED_ROWS, ids=lambda row: row.name)
def test_rois_and_proposals_are_those_of_the_sources(row):
    cfg = load_config(row.cfg_path)
    assert cfg.TRAIN.BG_THRESH_LO == (0.0 if cfg.TRAIN.ENABLE_OHEM else 0.1)    # MatR: rfcn_config_ohem.m, _simple.m
    if row.kind == ALTERNATE and row.name.startswith('paper_'):
        proposals = (12000, 2000) if '2000' in row.name else (6000, 300)
        assert (cfg.TEST.PROPOSAL_PRE_NMS_TOP_N, cfg.TEST.PROPOSAL_POST_NMS_TOP_N) == proposals
        assert cfg.TEST.PROPOSAL_MIN_SIZE == cfg.TEST.RPN_MIN_SIZE == 16
        assert not cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED


@pytest.mark.parametrize('row', [row for row in PUBLISHED_ROWS if len(load_config(row.cfg_path).SCALES) > 1],
                         ids=lambda row: row.name)
def test_rows_of_multi_scale_training_make_their_proposals_at_600(row):
    cfg = load_config(row.cfg_path)
    assert [scale[0] for scale in cfg.SCALES] == [400, 500, 600, 700, 800]
    assert proposal_scale(cfg) == detection_scales(cfg)[0] == (600, 1000)


def test_a_schedule_counts_devices_batches_and_accumulation(tiny_cfg):
    # 6 images, 2 a batch, 2 batches an update: 3 batches and 2 updates an epoch, the second of 2 images; means of 4
    # gradients; the third epoch is of a batch
    step, = steps(tiny_cfg('TRAIN.GRAD_ACCUM=2', 'TRAIN.lr=0.04', "TRAIN.lr_step='1,1.5'", 'TRAIN.end_epoch=2.34'),
                  END2END)
    assert (step.rate, step.batch, step.updates, step.images, step.drops) == (0.01, 4, 5, 14, (6, 10))
    two, = steps(tiny_cfg('gpus=0,1', 'TRAIN.lr=0.04', 'TRAIN.warmup=true', 'TRAIN.warmup_step=5'), END2END)
    assert (two.rate, two.batch, two.updates, two.warmup) == (0.02, 4, 2, 20)   # a sum of two means of 2


def test_with_lr_images_the_rate_of_an_image_is_the_same_on_any_number_of_devices(tiny_cfg):
    # 8 images an update where the rates are known for 2: four times the rate, a quarter of the warm-up's 4 updates
    given = ['TRAIN.LR_IMAGES=2', 'TRAIN.lr=0.04', 'TRAIN.warmup=true', 'TRAIN.warmup_lr=0.004', 'TRAIN.warmup_step=4']
    for gpus in 'gpus=', 'gpus=0,1', 'gpus=0,1,2,3':
        step, = steps(tiny_cfg(*given, gpus, 'TRAIN.BATCH_IMAGES=2'), END2END)
        assert (step.rate, step.warmup_rate) == pytest.approx((0.02, 0.002))
        assert step.warmup == 8


@pytest.mark.parametrize('row', PUBLISHED_ROWS, ids=lambda row: row.name)
def test_a_row_says_what_differs_in_a_few_lines_and_where_its_numbers_come_from(row):
    text = row.cfg_path.read_text()
    settings = [line for line in text.splitlines() if line and not line.startswith('#')]
    assert settings[0].startswith('BASE: ') and len(settings) <= 15
    assert len(comments(row.cfg_path)) >= 1
    heads = ' '.join(' '.join(comments(path)) for path in base_files(str(row.cfg_path)))
    for source in ['Trunk:'] + (['Section 2', 'MatR', 'pyR', 'nferred', 'an image'] if row.name.startswith('paper_')
                                else ["release's"]):
        assert source in heads, source


def resolved(row):
    """Dotted key -> plain value, paths relative to the project's folder."""
    flat = flatten(thaw(load_config(row.cfg_path)))
    return {key: value.replace(str(ROOT), '.') if isinstance(value, str) else value for key, value in flat.items()}


def snapshot(rows):
    """What is common to most rows once, and of each row what differs."""
    defaults = {key: value.replace(str(ROOT), '.') if isinstance(value, str) else value
                for key, value in flatten(thaw(load_config())).items()}
    different = {row.name: {key: value for key, value in resolved(row).items() if value != defaults[key]}
                 for row in rows}
    return {'defaults': defaults, 'rows': different}


@pytest.mark.parametrize('row', PUBLISHED_ROWS, ids=lambda row: row.name)
def test_a_row_is_what_it_was_key_by_key(row):
    saved, now = json.loads(SNAPSHOT.read_text()), json.loads(json.dumps(snapshot([])['defaults']))
    expected = dict(now, **saved['defaults'])   # a key that is new since then has its default
    expected.update(saved['rows'][row.name])
    found = json.loads(json.dumps(resolved(row)))
    different = {key: (expected.get(key), found.get(key)) for key in set(expected) | set(found)
                 if expected.get(key) != found.get(key)}
    assert different == {}, 'was, is; see the head of this file'


def test_explain_prints_sources_schedule_and_trunk(capsys):
    assert reproduce.main(['--explain', 'paper_voc07_rfcn_multiscale']) == 0
    printed = capsys.readouterr().out
    assert 'experiments/rfcn/cfgs/base/paper.yaml' in printed and 'MatR: the authors' in printed
    assert 'rfcn1       0.0005       160000       240000     30000   7.2499  4000 at 5e-05' in printed
    assert 'made at 600/1000' in printed and 'starts from model/pretrained_model/resnet_v1_101-0000.params' in printed
    assert 'tests the network of paper_coco_testdev_rfcn_multiscale' in \
        explain(find_row('paper_coco_testdev_rfcn_multiscale_testing'))
    assert '256' in explain(find_row('paper_voc07_class_rpn')).splitlines()[-2]


def test_explain_follows_overrides_and_says_when_images_are_not_here(tmp_path):
    accumulated = explain(find_row('paper_voc07_rfcn'), ['gpus=', 'TRAIN.GRAD_ACCUM=2', 'TRAIN.ALTERNATE.rfcn1_lr=0.1'])
    assert 'the CPU, 2 images per update' in accumulated and 'rfcn1         0.05' in accumulated
    scaled = explain(find_row('paper_voc07_rfcn'), ['TRAIN.LR_IMAGES=2', 'TRAIN.ALTERNATE.rfcn1_lr=0.1'])
    assert '8 images per update; a gradient is the mean over them.' in scaled and 'rfcn1         0.05' in scaled
    overrides = ['dataset.dataset_path=%s' % tmp_path, 'network.pretrained=a-best.params']
    nowhere = explain(find_row('bccd_resnet50'), overrides)
    assert 'Its images are not here' in nowhere and 'a-best.params, which is not here' in nowhere


if __name__ == '__main__':
    SNAPSHOT.write_text(json.dumps(snapshot(PUBLISHED_ROWS), indent=0, sort_keys=True) + '\n')
