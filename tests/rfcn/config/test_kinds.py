"""What a value of the configuration may be, and what is said of another one."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import ConfigError
from rfcn.config.config import load_config, with_overrides
from rfcn.config.defaults import KEYS
from tests.rfcn.config.conftest import message_of


def test_every_default_is_of_its_own_kind_and_form():
    for key, (default, kind) in KEYS.items():
        value = kind(default)
        assert value == default and type(value) is type(default), key


@pytest.mark.parametrize('override, expected', [
    ('TRAIN.RPN_BATCHSIZE=3', 'command line: unknown key TRAIN.RPN_BATCHSIZE; did you mean TRAIN.RPN_BATCH_SIZE?'),
    ('lr=3', 'unknown key lr; did you mean TRAIN.lr?'),
    ('TRAIN.LR=3', 'did you mean TRAIN.lr?'),
    ('trian={lr: 0.1}', 'unknown key trian; did you mean TRAIN?'),
    ('TEST.QUANTIZE.CALIB=1', 'did you mean TEST.QUANTIZE.CALIB_MODE?'),
    ('TRAIN=3', 'TRAIN is a section and must hold keys, not 3'),
    ('TRAIN.lr', "'TRAIN.lr' must be KEY=VALUE, such as TRAIN.lr=0.001"),
    (__file__, '. It is a file: each needs its option, as in --image a.jpg --image b.jpg'),     # demo --image *.jpg
    ('=1', 'must be KEY=VALUE'),
    ('output_path=o\udcff', r'command line: output_path: o\xff is no UTF-8'),
    ('TRAIN.lr=1e-4', "TRAIN.lr must be float, not '1e-4' (YAML reads 1e-4 as text: write 0.0001)"),
    ('TRAIN.lr=1.2.3e4', "TRAIN.lr must be float, not '1.2.3e4'"),
    ('TRAIN.lr=true', 'TRAIN.lr must be float, not True'),
    ('TRAIN.lr=null', 'TRAIN.lr must be float, not None'),
    ('TRAIN.lr=.nan', 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=1' + '0' * 400, 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=0x' + 'f' * 20000, 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=-1', 'TRAIN.lr must be 0 or more, not -1'),
    ('TRAIN.FG_THRESH=1.5', 'TRAIN.FG_THRESH must be 1 or less, not 1.5'),
    ('TRAIN.BATCH_IMAGES=0', 'TRAIN.BATCH_IMAGES must be 1 or more, not 0'),
    ('TRAIN.BATCH_IMAGES=1.0', 'TRAIN.BATCH_IMAGES must be int, not 1.0'),
    ('TRAIN.BATCH_IMAGES=true', 'TRAIN.BATCH_IMAGES must be int, not True'),
    ('TRAIN.BATCH_ROIS=0', 'TRAIN.BATCH_ROIS must be -1 (all) or 1 or more, not 0'),
    ('TRAIN.RPN_BATCH_SIZE=-1', 'TRAIN.RPN_BATCH_SIZE must be 1 or more, not -1'),
    ('dataset.test_image_set=2007_test+2012_val',
     "dataset.test_image_set must be one image set, not '2007_test+2012_val' "
     '(sets are joined by + for training only; test on one after the other)'),
    ('dataset.val_image_set=a+b', "dataset.val_image_set must be one image set, not 'a+b'"),
    ('output_path="a\\0b"', "output_path must be text without the character NUL, not 'a\\x00b'"),
    ('TRAIN.model_prefix=../b', "TRAIN.model_prefix must be a part of a name, without /, not '../b'"),
    ('TRAIN.FLIP=1', 'TRAIN.FLIP must be true or false, not 1'),
    ('TRAIN.RESUME=1', 'TRAIN.RESUME must be one of False, True, auto, not 1'),
    ('network.CONV5=conv4', 'network.CONV5 must be one of atrous, stride32, none, not'),
    ('network.PIXEL_MEANS=[1, 2]', 'network.PIXEL_MEANS must be a list of 3, not [1, 2]'),
    ('network.PIXEL_MEANS=3', 'network.PIXEL_MEANS must be a list, not 3'),
    ('network.CONV_NEW_CHANNELS=10000000000', 'network.CONV_NEW_CHANNELS must be 16384 or less, not 10000000000'),
    ('network.SMALL_CHANNELS=[1, 2, 3, 100000]', 'network.SMALL_CHANNELS must be 16384 or less, not 100000'),
    ('TRAIN.BATCH_IMAGES=1000000000', 'TRAIN.BATCH_IMAGES must be 1024 or less, not 1000000000'),
    ('TEST.BATCH_IMAGES=100000', 'TEST.BATCH_IMAGES must be 1024 or less, not 100000'),
    ('TRAIN.ALTERNATE.RPN_BATCH_IMAGES=100000', 'must be 1024 or less'),
    ('TEST.RPN_POST_NMS_TOP_N=1000000000', 'TEST.RPN_POST_NMS_TOP_N must be 131072 or less, not 1000000000'),
    ('TRAIN.MAX_GT_BOXES=1000000000', 'TRAIN.MAX_GT_BOXES must be 131072 or less'),
    ('TRAIN.RPN_PRE_NMS_TOP_N=10000000000', 'TRAIN.RPN_PRE_NMS_TOP_N must be 2147483647 or less'),
    ('network.ANCHOR_SCALES=[%s]' % ('1,' * 10000), 'ANCHOR_SCALES must be a list of at most 64'),
    ('network.ANCHOR_RATIOS=[1.0e+300]', 'ANCHOR_RATIOS must be 10000.0 or less, not 1e+300'),
    ('TEST.SCALES=[%s]' % ('[64,96],' * 3000), 'TEST.SCALES must be a list of at most 64'),
    ('SCALES=[1000000000, 1000000000]', 'SCALES must be 32768 or less, not 1000000000'),
    ('SCALES=[32768, 32768]', 'SCALES must be a pair of at most 80000000 pixels, not [32768, 32768] (32768 x 32768'),
    ('network.ANCHOR_SCALES=[]', 'network.ANCHOR_SCALES must be a list of at least one'),
    ('symbol=101', 'symbol must be text, not 101 (put it in quotes)'),
    ('SCALES=[1000, 600]', 'SCALES must be a pair with the shorter side first'),
    ('SCALES=[]', 'SCALES must be a pair'),
    ('SCALES=[[600, 1000], 3]', 'SCALES must be a pair'),
    ('TRAIN.lr_step=4,2', 'TRAIN.lr_step must be epochs in ascending order'),
    ('TRAIN.lr_step=two', "TRAIN.lr_step must be epochs such as '2,4.5', not 'two'"),
    ('gpus=x', "gpus must be different GPU numbers such as '0,1'"),
    ('gpus=0,0', "gpus must be different GPU numbers"),
    ('TRAIN.LR_MULT=3', 'TRAIN.LR_MULT must be a mapping'),
    ('TRAIN.LR_MULT={items: 3}', 'TRAIN.LR_MULT must be a mapping whose keys are parameter names'),
    ('TRAIN.BG_THRESH_LO=0.9', 'TRAIN.BG_THRESH_LO is 0.9 and must not exceed TRAIN.BG_THRESH_HI, which is 0.5'),
    ('network.NUM_ANCHORS=3', 'network.NUM_ANCHORS is stated as 3, but scales times ratios make 9'),
    ('dataset.CLASSES=[a, a]', 'dataset.CLASSES must be different names'),
    ('dataset.CLASSES=[1, 2]', 'must be text, not 1 (put it in quotes)'),
    ('dataset.CLASSES=a,b', "dataset.CLASSES must be a list [car, dog] or a file of names, not 'a,b'"),
    ('TRAIN.lr=[', 'command line: TRAIN.lr: line 1: not valid YAML'),
])
def test_a_bad_override_is_refused_with_its_remedy(override, expected):
    assert expected in message_of(overrides=[override])


@pytest.mark.parametrize('text, expected',
                         [('"2,4.5"', (2.0, 4.5)), ('3', (3.0,)), ('[1, 2.5]', (1.0, 2.5)), ('""', ())])
def test_learning_rate_steps_are_text_a_number_or_a_list(text, expected):
    assert load_config(overrides=['TRAIN.lr_step=' + text]).TRAIN.lr_step == expected


@pytest.mark.parametrize('text, expected', [('3', '3'), ('[0, 1]', '0,1'), ('"0, 2"', '0,2'), ('""', ''), ('[]', '')])
def test_gpus_are_text_a_number_or_a_list(text, expected):
    assert load_config(overrides=['gpus=' + text]).gpus == expected


def test_scales_are_one_pair_or_several():
    assert load_config(overrides=['SCALES=[400, 700]']).SCALES == ((400, 700),)
    assert load_config(overrides=['SCALES=[[400, 700], [600, 1000]]']).SCALES == ((400, 700), (600, 1000))
    assert load_config(overrides=['TEST.SCALES=[400, 700]']).TEST.SCALES == ((400, 700),)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=3),
                      max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(KEYS)), values)
def test_any_value_of_any_key_loads_or_is_refused(key, value):
    try:
        config = with_overrides(load_config(), {key: value})
    except ConfigError:
        return
    assert with_overrides(config, {}) == config


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='TRAINlr:{}[]-&*!|>#\'"% \n0.9', max_size=60))
def test_any_text_is_a_config_or_is_refused(text):
    try:
        load_config(overrides=['TRAIN=' + text])
    except ConfigError:
        pass


@pytest.mark.parametrize('text, expected', [('7', 7), ('7.0', 7), ('7.25', 7.25), ('0', 0)])
def test_a_training_may_end_within_an_epoch(text, expected):
    end = load_config(overrides=['TRAIN.end_epoch=' + text, 'TRAIN.ALTERNATE.rpn1_epoch=' + text])
    assert end.TRAIN.end_epoch == end.TRAIN.ALTERNATE.rpn1_epoch == expected
    assert type(end.TRAIN.end_epoch) is type(expected)
    assert 'TRAIN.end_epoch must be 0 or more, not -1' in message_of(overrides=['TRAIN.end_epoch=-1'])


def test_the_scale_of_proposals_is_one_pair_or_none():
    assert load_config().TEST.PROPOSAL_SCALE == ()
    assert load_config(overrides=['TEST.PROPOSAL_SCALE=[600, 1000]']).TEST.PROPOSAL_SCALE == ((600, 1000),)
    message = message_of(overrides=['TEST.PROPOSAL_SCALE=[[600, 1000], [400, 667]]'])
    assert 'TEST.PROPOSAL_SCALE must be one pair [shorter side, longest side], not ((600, 1000), (400, 667))' in message
