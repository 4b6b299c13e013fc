"""Position-sensitive RoI pooling, plain and deformable."""
import numpy as np
import pytest

from lib.psroi.psroi_pooling import deformable_psroi_pool, psroi_pool, psroi_pool_compiled, round_half_away

compiled = pytest.mark.skipif(psroi_pool_compiled is None, reason='the compiled modules are not built: make build')


def test_halves_are_rounded_away_from_zero():
    values = np.array([-2.5, -0.5, -0.4, 0.5, 1.5, 2.5, 2.4])
    np.testing.assert_array_equal(round_half_away(values), [-3, -1, 0, 1, 2, 3, 2])


def numbered_maps(num, height, width):
    """Maps whose value at a cell is 100 * map + 10 * y + x."""
    maps, y, x = np.indices((num, height, width))
    return (100 * maps + 10 * y + x)[None].astype(np.float32)


def test_each_bin_is_the_mean_of_its_own_map():
    # A RoI of 4 x 4 cells at stride 1: bins of 2 x 2. Means of cells 0, 1 and 2, 3 are 0.5 and 2.5.
    pooled = psroi_pool(numbered_maps(4, 6, 6), [[0, 0, 0, 3, 3]], 1, output_dim=1, pooled_size=2)
    np.testing.assert_array_equal(pooled, [[[[0 + 5 + 0.5, 100 + 5 + 2.5], [200 + 25 + 0.5, 300 + 25 + 2.5]]]])


def test_maps_of_one_output_stand_together():
    pooled = psroi_pool(numbered_maps(8, 6, 6), [[0, 0, 0, 3, 3]], 1, output_dim=2, pooled_size=2)
    np.testing.assert_array_equal(pooled[0, 1], pooled[0, 0] + 400)


def test_a_bin_takes_every_cell_that_it_touches():
    # 3 cells in 2 bins: from 0 to 1.5 and from 1.5 to 3, so cells 0, 1 and 1, 2.
    pooled = psroi_pool(numbered_maps(4, 6, 6), [[0, 0, 0, 2, 2]], 1, output_dim=1, pooled_size=2)
    np.testing.assert_array_equal(pooled[0, 0, 0], [5 + 0.5, 100 + 5 + 1.5])


def test_rois_are_scaled_to_cells_with_their_last_pixel():
    # Pixels 16 to 47 at stride 16 are cells 1 and 2.
    pooled = psroi_pool(numbered_maps(1, 6, 6), [[0, 16, 16, 47, 47]], 1 / 16, output_dim=1, pooled_size=1)
    assert pooled == 15 + 1.5


def test_a_roi_beyond_the_map_gives_zero():
    assert psroi_pool(numbered_maps(1, 6, 6) + 1, [[0, 10, 10, 12, 12]], 1, output_dim=1, pooled_size=1) == 0


def test_a_roi_turned_inside_out_is_a_tenth_of_a_cell():
    # Pixel 3.2 rounds to 3, 1 rounds to 1: the width is max(2 - 3, 0.1), so the bin is cell 3.
    assert psroi_pool(numbered_maps(1, 6, 6), [[0, 3.2, 3.2, 1, 1]], 1, output_dim=1, pooled_size=1) == 33


def test_a_map_of_one_cell_is_pooled_to_itself():
    np.testing.assert_array_equal(psroi_pool(numbered_maps(9, 1, 1), [[0, 0, 0, 15, 15]], 1 / 16, 1, 3).ravel(),
                                  np.arange(9) * 100)


def test_no_rois_give_nothing():
    assert psroi_pool(numbered_maps(4, 6, 6), np.zeros((0, 5)), 1, 1, 2).shape == (0, 1, 2, 2)


def test_maps_that_do_not_fit_the_bins_are_refused():
    with pytest.raises(ValueError):
        psroi_pool(numbered_maps(5, 6, 6), [[0, 0, 0, 3, 3]], 1, output_dim=1, pooled_size=2)


def test_a_deformable_bin_follows_its_offset():
    data = numbered_maps(1, 20, 20)
    roi = [[0, 4, 4, 7, 7]]                             # from 3.5 to 7.5; points at 3.5, 4.5, 5.5, 6.5: mean 5
    still = deformable_psroi_pool(data, roi, None, 1, output_dim=1, pooled_size=1)
    moved = deformable_psroi_pool(data, roi, np.array([[[[5]], [[10]]]]), 1, output_dim=1, pooled_size=1)
    # 5 * 0.1 * 4 = 2 cells to the right, 10 * 0.1 * 4 = 4 cells down
    np.testing.assert_allclose(still, [[[[55]]]])
    np.testing.assert_allclose(moved, [[[[57 + 40]]]])


def test_points_outside_the_map_do_not_count():
    data = numbered_maps(1, 6, 6)
    roi = [[0, -4, 0, 3, 3]]                            # x from -4.5, steps of 2: -4.5, -2.5, -0.5 (taken at 0), 1.5
    pooled = deformable_psroi_pool(data, roi, None, 1, output_dim=1, pooled_size=1)
    # y: -0.5 (taken at 0), 0.5, 1.5, 2.5
    np.testing.assert_allclose(pooled, (0 + 1.5) / 2 + 10 * (0 + 0.5 + 1.5 + 2.5) / 4)
    assert deformable_psroi_pool(data + 1, [[0, 50, 0, 53, 3]], None, 1, output_dim=1, pooled_size=1) == 0


def random_case(seed, pooled_size, output_dim):
    """Maps of two images, and RoIs within and around them, many of whose corners end in a half."""
    random = np.random.RandomState(seed)
    data = random.randn(2, output_dim * pooled_size ** 2, 13, 17).astype(np.float32)
    corner = random.uniform(-10, [300, 230], (60, 2))
    opposite = corner + random.uniform(-3, 150, (60, 2))
    rois = np.hstack((random.randint(0, 2, (60, 1)), corner, opposite)).astype(np.float32)
    rois[:30, 1:] = np.round(rois[:30, 1:] * 2) / 2
    return data, rois, random


CASES = pytest.mark.parametrize('pooled_size,output_dim', [(1, 4), (2, 8), (3, 2), (7, 2)])


@CASES
def test_pooling_equals_that_of_mxnet(pooled_size, output_dim):
    mx = pytest.importorskip('mxnet')
    data, rois, _ = random_case(pooled_size, pooled_size, output_dim)
    native = mx.nd.contrib.PSROIPooling(mx.nd.array(data), mx.nd.array(rois), spatial_scale=1 / 16,
                                        output_dim=output_dim, pooled_size=pooled_size)
    np.testing.assert_allclose(psroi_pool(data, rois, 1 / 16, output_dim, pooled_size), native.asnumpy(), atol=1e-5)


@compiled
@CASES
def test_compiled_pooling_equals_that_of_mxnet_to_the_last_bit(pooled_size, output_dim):
    mx = pytest.importorskip('mxnet')
    data, rois, _ = random_case(pooled_size + 10, pooled_size, output_dim)
    rois = np.vstack((rois, np.float32([[0, 0, 0, 271, 207], [1, 500, 500, 600, 600], [1, -90, -90, -50, -50],
                                        [0, 90, 90, 20, 20], [1, 16, 16, 16, 16]])))
    native = mx.nd.contrib.PSROIPooling(mx.nd.array(data), mx.nd.array(rois), spatial_scale=1 / 16,
                                        output_dim=output_dim, pooled_size=pooled_size)
    np.testing.assert_array_equal(psroi_pool_compiled(data, rois, 1 / 16, output_dim, pooled_size), native.asnumpy())


@compiled
def test_compiled_pooling_of_rois_that_no_network_makes_reads_nothing_outside_the_maps():
    nan, inf = np.float32([np.nan, np.inf])
    rois = np.float32([[7, 0, 0, 15, 15], [-1, 0, 0, 15, 15], [nan, 0, 0, 15, 15], [0, nan, nan, nan, nan],
                       [0, -inf, -inf, inf, inf], [0, 3e38, 3e38, 3e38, 3e38], [0, 0, 0, 15, 15]])
    pooled = psroi_pool_compiled(numbered_maps(4, 2, 2) + 1, rois, 1 / 16, 1, 2)
    assert (pooled[:6] == 0).all()
    np.testing.assert_array_equal(pooled[6].ravel(), [1, 101, 201, 301])
    assert psroi_pool_compiled(numbered_maps(4, 2, 2), rois[:0], 1 / 16, 1, 2).shape == (0, 1, 2, 2)


@compiled
@pytest.mark.parametrize('maps,columns', [(5, 5), (4, 4)])
def test_compiled_pooling_refuses_other_shapes(maps, columns):
    with pytest.raises(ValueError, match='expected'):
        psroi_pool_compiled(numbered_maps(maps, 6, 6), np.zeros((1, columns), dtype=np.float32), 1, 1, 2)


@CASES
@pytest.mark.parametrize('num_shifts', [0, 1, 2])
def test_deformable_pooling_equals_that_of_mxnet(pooled_size, output_dim, num_shifts):
    mx = pytest.importorskip('mxnet')
    data, rois, random = random_case(pooled_size, pooled_size, output_dim)
    rois = rois[::3]
    inputs = [mx.nd.array(data), mx.nd.array(rois)]
    offsets = None
    if num_shifts:
        offsets = random.randn(len(rois), 2 * num_shifts, pooled_size, pooled_size).astype(np.float32)
        inputs.append(mx.nd.array(offsets))
    native = mx.nd.contrib.DeformablePSROIPooling(
        *inputs, spatial_scale=1 / 16, output_dim=output_dim, pooled_size=pooled_size, group_size=pooled_size,
        part_size=pooled_size, sample_per_part=4, trans_std=0.1, no_trans=not num_shifts)
    native = native[0] if isinstance(native, (list, tuple)) else native
    pooled = deformable_psroi_pool(data, rois, offsets, 1 / 16, output_dim, pooled_size)
    np.testing.assert_allclose(pooled, native.asnumpy(), atol=1e-5)
