"""Non-maximum suppression, soft-NMS and box voting."""
import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nms import nms as nms_module
from lib.nms.nms import box_voting, nms, nms_py, soft_nms

compiled = pytest.mark.skipif(nms_module.nms_in_order is None, reason='lib.nms.cpu_nms is not built')
both = pytest.mark.parametrize('suppress', [nms, nms_py])
dtypes = st.sampled_from([np.float32, np.float64])


@st.composite
def some_dets(draw, dtype, largest=200):
    """(N, 5) crowded boxes with scores, some of them equal."""
    num = draw(st.integers(0, largest))
    random = np.random.RandomState(draw(st.integers(0, 1 << 30)))
    dets = np.empty((num, 5))
    dets[:, :2] = random.uniform(0, draw(st.sampled_from([1, 50, 300])), (num, 2))
    dets[:, 2:4] = dets[:, :2] + random.uniform(0, 80, (num, 2))
    if draw(st.booleans()):
        dets[:, :4] = dets[:, :4].round()
    dets[:, 4] = random.randint(1, draw(st.sampled_from([3, 1 << 20])), num) / (1 << 20)
    return dets.astype(dtype)


def dets_of(*rows, dtype=np.float32):
    return np.array(rows, dtype=dtype).reshape(-1, 5)


@both
def test_a_box_that_overlaps_a_better_one_too_much_is_dropped(suppress):
    dets = dets_of([0, 0, 9, 9, 0.5],           # overlaps the third by 90 / 110
                   [100, 100, 109, 109, 0.7],
                   [1, 0, 10, 9, 0.9],
                   [0, 5, 9, 14, 0.6])          # overlaps the third by 45 / 155, the first by 50 / 150
    np.testing.assert_array_equal(suppress(dets, 0.5), [2, 1, 3])


@both
def test_a_dropped_box_drops_no_other(suppress):
    dets = dets_of([0, 0, 9, 9, 0.9],
                   [0, 3, 9, 12, 0.8],          # 70 / 130 with the first: dropped
                   [0, 6, 9, 15, 0.7])          # 70 / 130 with the second, 40 / 160 with the first: stays
    np.testing.assert_array_equal(suppress(dets, 0.5), [0, 2])


@both
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_an_overlap_of_exactly_the_threshold_is_kept_unless_told(suppress, dtype):
    dets = dets_of([0, 0, 9, 19, 0.9], [0, 0, 9, 9, 0.8], dtype=dtype)      # 100 / 200
    np.testing.assert_array_equal(suppress(dets, 0.5), [0, 1])
    np.testing.assert_array_equal(suppress(dets, 0.5, drop_equal=True), [0])


@both
def test_the_threshold_is_rounded_to_float32_only_where_equal_overlaps_stay(suppress):
    dets = dets_of([0, 0, 9, 0, 0.9], [0, 0, 6, 0, 0.8])        # 7 / 10: in float32 a little less than 0.7
    np.testing.assert_array_equal(suppress(dets, 0.7), [0, 1])
    np.testing.assert_array_equal(suppress(dets, 0.7, drop_equal=True), [0, 1])
    np.testing.assert_array_equal(suppress(dets.astype(np.float64), 0.7, drop_equal=True), [0])


@both
def test_of_boxes_of_equal_score_the_last_one_given_is_taken_first(suppress):
    # Departure: the release leaves it to NumPy's default sort.
    dets = np.tile(np.float32([[0, 0, 9, 9, 0.5], [50, 0, 59, 9, 0.5]]), (50, 1))       # two places, fifty boxes each
    np.testing.assert_array_equal(suppress(dets, 0.5), [99, 98])


@both
def test_no_boxes_keep_nothing(suppress):
    assert suppress(dets_of(), 0.5).shape == (0,)


@both
def test_boxes_without_area_are_kept(suppress):
    np.testing.assert_array_equal(suppress(dets_of([5, 5, 4, 4, 0.9], [5, 5, 4, 4, 0.8]), 0.5), [0, 1])


@both
@pytest.mark.parametrize('bad', [np.zeros(5), np.zeros((2, 4)), np.zeros((2, 6))])
def test_dets_of_another_shape_are_refused(suppress, bad):
    with pytest.raises(ValueError, match='dets must have the shape'):
        suppress(bad, 0.5)


@compiled
@settings(max_examples=150, deadline=None)
@given(st.data(), dtypes, st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_compiled_suppression_equals_that_of_numpy(data, dtype, thresh, drop_equal):
    dets = data.draw(some_dets(dtype))
    np.testing.assert_array_equal(nms(dets, thresh, drop_equal), nms_py(dets, thresh, drop_equal))


@settings(max_examples=50, deadline=None)
@given(some_dets(np.float32), st.sampled_from([0.3, 0.5, 0.7]))
def test_suppressing_the_survivors_again_drops_none(dets, thresh):
    survivors = dets[nms(dets, thresh)]
    assert len(nms(survivors, thresh)) == len(survivors)


@both
@settings(max_examples=30, deadline=None)
@given(dets=some_dets(np.float32), limit=st.integers(0, 10))
def test_a_limit_keeps_the_first_of_what_would_stay(suppress, dets, limit):
    np.testing.assert_array_equal(suppress(dets, 0.5, max_keep=limit), suppress(dets, 0.5)[:limit])


def test_suppression_works_on_a_strided_read_only_array():
    dets = np.repeat(dets_of([0, 0, 9, 9, 0.9], [0, 0, 9, 9, 0.8]), 2, axis=1)[:, ::2]
    dets.flags.writeable = False
    np.testing.assert_array_equal(nms(dets, 0.5), [0])


def test_numpy_takes_over_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(nms_module, 'nms_in_order', None)
    np.testing.assert_array_equal(nms(dets_of([0, 0, 9, 9, 0.8], [0, 0, 9, 9, 0.9]), 0.5), [1])


@both
@pytest.mark.parametrize('thresh', [0.3, 0.5, 0.7])
@pytest.mark.parametrize('case', range(3))
def test_suppression_equals_the_originals(suppress, golden_cases, case, thresh):
    vectors, _ = golden_cases('nms')
    dets, key = vectors['dets_%d' % case], '%d_%.2f' % (case, thresh)
    np.testing.assert_array_equal(suppress(dets, thresh), vectors['py_' + key])
    np.testing.assert_array_equal(suppress(dets, thresh, drop_equal=True), vectors['cpu_' + key])
    np.testing.assert_array_equal(suppress(dets.astype(np.float64), thresh), vectors['py64_' + key])


@both
def test_ties_with_the_threshold_equal_the_originals(suppress, golden_cases):
    vectors, _ = golden_cases('nms')
    np.testing.assert_array_equal(suppress(vectors['dets_tie'], 0.5), vectors['py_tie_0.50'])
    np.testing.assert_array_equal(suppress(vectors['dets_tie'], 0.5, drop_equal=True), vectors['cpu_tie_0.50'])


@pytest.fixture(params=['compiled', 'numpy'])
def soft(request, monkeypatch):
    """`soft_nms`, compiled and not."""
    if request.param == 'numpy':
        monkeypatch.setattr(nms_module, 'soft_nms_sorted', None)
    elif nms_module.soft_nms_sorted is None:
        pytest.skip('lib.nms.cpu_nms is not built')
    return soft_nms


# The first two overlap by 100 / 200.
PAIR_AND_ONE = dets_of([0, 0, 9, 9, 0.8], [0, 0, 9, 19, 0.9], [50, 50, 59, 59, 0.1])


def test_soft_nms_lowers_scores_by_a_gaussian_of_the_overlap(soft):
    rescored = soft(PAIR_AND_ONE, 0.6)
    np.testing.assert_array_equal(rescored[:, :4], PAIR_AND_ONE[[1, 0, 2], :4])
    np.testing.assert_allclose(rescored[:, 4], [0.9, 0.8 * math.exp(-0.5 ** 2 / 0.6), 0.1], rtol=1e-6)


def test_linear_soft_nms_lowers_scores_from_its_threshold_on(soft):
    np.testing.assert_allclose(soft(PAIR_AND_ONE, 0.5, method='linear')[:, 4], [0.9, 0.8 * 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(soft(PAIR_AND_ONE, 0.51, method='linear')[:, 4], [0.9, 0.8, 0.1], rtol=1e-6)


def test_soft_nms_takes_boxes_by_their_new_scores(soft):
    dets = dets_of([0, 0, 9, 9, 0.9], [0, 0, 9, 9, 0.8], [50, 50, 59, 59, 0.5])     # 0.8 * exp(-1 / 0.6) = 0.151
    np.testing.assert_allclose(soft(dets, 0.6)[:, 4], [0.9, 0.5, 0.8 * math.exp(-1 / 0.6)], rtol=1e-6)


def test_soft_nms_leaves_its_argument_alone_and_keeps_its_dtype(soft):
    before = PAIR_AND_ONE.copy()
    assert soft(PAIR_AND_ONE, 0.6).dtype == np.float32
    assert soft(PAIR_AND_ONE.astype(np.float64), 0.6).dtype == np.float64
    np.testing.assert_array_equal(PAIR_AND_ONE, before)


@pytest.mark.parametrize('max_dets,expected', [(-1, 3), (0, 0), (2, 2), (7, 3)])
def test_soft_nms_stops_after_so_many_boxes(soft, max_dets, expected):
    np.testing.assert_array_equal(soft(PAIR_AND_ONE, 0.6, max_dets), soft(PAIR_AND_ONE, 0.6)[:expected])


def test_soft_nms_of_no_boxes_is_empty(soft):
    assert soft(dets_of(), 0.6).shape == (0, 5)


def test_an_unknown_method_of_soft_nms_is_refused(soft):
    with pytest.raises(ValueError, match="'gaussian' or 'linear', not 'cubic'"):
        soft(PAIR_AND_ONE, 0.6, method='cubic')


@pytest.mark.parametrize('case', range(3))
def test_soft_nms_equals_the_originals(soft, golden_cases, case):
    vectors, _ = golden_cases('nms')
    dets = vectors['dets_%d' % case]
    np.testing.assert_allclose(soft(dets, 0.6, -1), vectors['softnms_%d' % case], rtol=1e-5)
    np.testing.assert_allclose(soft(dets, 0.6, 20), vectors['softnms_%d_max20' % case], rtol=1e-5)


@compiled
@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(['gaussian', 'linear']))
def test_compiled_soft_nms_equals_that_of_numpy(data, method):
    columns = nms_module._columns(data.draw(some_dets(np.float64, largest=60)))
    twin = columns.copy()
    nms_module.soft_nms_sorted(columns, 0.5, method == 'gaussian', -1)
    nms_module.soft_nms_sorted_py(twin, 0.5, method == 'gaussian', -1)
    np.testing.assert_allclose(np.sort(columns[5]), np.sort(twin[5]), rtol=1e-9)


def test_voting_moves_a_box_to_the_weighted_mean_of_those_that_overlap_it():
    dets = dets_of([0, 0, 9, 9, 0.75], [0, 0, 9, 19, 0.25], [50, 50, 59, 59, 0.5])
    voted = box_voting(dets[[0, 2]], dets, 0.5)
    # The first two overlap by 100 / 200, which is enough: y2 = 0.75 * 9 + 0.25 * 19
    np.testing.assert_allclose(voted, [[0, 0, 9, 11.5, 0.75], [50, 50, 59, 59, 0.5]])


def test_a_box_that_nobody_votes_for_stays():
    dets = dets_of([0, 0, 9, 9, 0])
    np.testing.assert_array_equal(box_voting(dets, dets, 0.5), dets)


@settings(max_examples=30, deadline=None)
@given(some_dets(np.float64, largest=40), hnp.arrays(np.float64, 1, elements=st.floats(0.3, 0.9)))
def test_a_vote_keeps_scores_and_stays_within_the_voters(dets, thresh):
    kept = dets[nms(dets, 0.5)]
    voted = box_voting(kept, dets, thresh[0])
    np.testing.assert_array_equal(voted[:, 4], kept[:, 4])
    if len(dets):
        assert (voted[:, :4] >= dets[:, :4].min(axis=0) - 1e-9).all()
        assert (voted[:, :4] <= dets[:, :4].max(axis=0) + 1e-9).all()
