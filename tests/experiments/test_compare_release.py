"""The comparison with the original: it passes, it notices what is wrong, and it skips nothing."""
import io
import json
import re
import shutil
import zlib
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from experiments import compare_release as script
from experiments.compare import proposals
from experiments.compare.network_training import check_step_outputs, exchange_copies, match_rows
from experiments.compare.networks import check_outputs, make_parameter
from experiments.compare.report import EXACT, NETWORK, PIXELS, PLAIN, Report, compare
from experiments.compare.vectors import Vector, plain

OWN = Path(__file__).resolve().parents[1] / 'vectors' / 'own'
SINGLE = ('anchors', 'boxes', 'nms', 'assign_anchor', 'sample_rois', 'lr')
NETWORKS = ('net_voc1', 'net_voc2', 'net_coco1', 'net_dcn1')
SLOW = ('net_voc2', 'net_coco1')    # the network of net_voc1 with another photograph, and with more classes and anchors


@pytest.fixture
def vectors(tmp_path):
    """A copy of our own vectors of single functions, to be spoilt."""
    for path in OWN.iterdir():
        if path.stem in SINGLE:
            shutil.copy(str(path), str(tmp_path / path.name))
    return tmp_path


def table(directory, only=None, pictures=None):
    """Whether it passed, and the printed rows."""
    stream = io.StringIO()
    passed = script.compare_release(directory, only, stream, pictures)
    return passed, stream.getvalue().splitlines()


def rewrite_json(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def rewrite_arrays(path, **changes):
    with np.load(str(path)) as arrays:
        arrays = dict(arrays.items())
    arrays.update(changes)
    np.savez(str(path), **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize('name', sorted(script.CASES))
def test_a_function_gives_the_originals_numbers(golden, name):
    passed, rows = table(golden, name)
    assert passed, '\n'.join(rows)


@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
                                  for name in NETWORKS + ('image',)])
def test_what_needs_photographs_gives_the_originals_numbers(golden, pictures, name):
    passed, rows = table(golden, name, pictures)
    assert passed and ' 0 left out' in rows[-1], '\n'.join(rows)


@pytest.mark.parametrize('name, content', [('nms.npz', b'PK'), ('lr.json', b'{"a":')])
def test_a_damaged_file_falls_short_and_the_others_are_compared(vectors, name, content):
    (vectors / name).write_bytes(content)
    passed, rows = table(vectors)
    assert not passed and ' 1 FALLS SHORT' in rows[-1] and ' 0 ok' not in rows[-1]
    assert any(row.startswith(name.partition('.')[0]) and 'the comparison stopped' in row for row in rows)


def test_what_needs_photographs_is_left_out_where_they_are_not(golden, tmp_path):
    for name in NETWORKS:
        passed, rows = table(golden, name, tmp_path)
        assert not passed and '1 left out' in rows[-1] and 'demo pictures is not below' in rows[1]  # nothing compared
    passed, rows = table(golden, 'image', tmp_path)
    assert passed and ' 2 ok, 0 departs, 0 FALLS SHORT, 0 NOT UNDERSTOOD, 1 left out' in rows[-1]
    (tmp_path / '000240.jpg').write_bytes(b'another picture of that name')
    assert '000240.jpg of the original' in table(golden, 'net_voc1', tmp_path)[1][1]


def test_no_photograph_lies_among_the_originals_numbers(golden):
    for path in golden.iterdir():
        assert path.suffix in ('.npz', '.json', '.txt', '.md'), path
    for path in golden.glob('*.npz'):
        with np.load(str(path)) as arrays:
            pixels = [name for name in arrays.files if arrays[name].ndim >= 3 and 3 in arrays[name].shape[-3:]
                      and arrays[name].size > 6000 and not name.startswith('vstack_')]
        assert pixels == [], path


def test_every_file_beside_the_originals_numbers_is_understood(golden):
    assert script.list_vectors(golden)[1] == []


def test_our_own_vectors_pass_and_show_departures():
    passed, rows = table(OWN)
    assert passed, '\n'.join(rows)
    departures = {row.split()[0] for row in rows if ' departs: ' in row}
    assert departures == {'boxes', 'assign_anchor', 'sample_rois', 'lr'}
    assert '0 FALLS SHORT, 0 NOT UNDERSTOOD' in rows[-1]


def test_a_vector_that_is_not_there_is_told_with_those_that_are(vectors, capsys):
    with pytest.raises(SystemExit):
        script.main(['--vectors', str(vectors), '--only', 'nmss'])
    assert re.search('no vector is called nmss; there are .*nms', capsys.readouterr().err)


def test_the_exit_code_is_0_only_if_all_is_equal(vectors, capsys):
    assert script.main(['--vectors', str(vectors)]) == 0
    rewrite_arrays(vectors / 'anchors.npz', anchors_0=np.array([[-8.0, -8.0, 23.0, 23.1]]))
    assert script.main(['--vectors', str(vectors)]) == 1
    row, = [line for line in capsys.readouterr().out.splitlines() if 'FALLS SHORT' in line and 'rows' not in line]
    assert row.split()[:6] == ['anchors', 'anchors', '0', '1x4', '0.1', '0.0043']  # 0.1 / 23.1


def test_one_vector_alone_can_be_asked_for(vectors):
    passed, rows = table(vectors, 'lr')
    assert passed and {row.split()[0] for row in rows[1:-2]} == {'lr'}


def test_a_vector_that_is_not_there_does_not_pass(vectors):
    passed, rows = table(vectors, 'image')
    assert not passed and 'vectors: anchors, ' in rows[-1]


def test_an_empty_folder_does_not_pass(tmp_path):
    assert not table(tmp_path)[0]


def test_a_folder_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit) as error:
        script.main(['--vectors', '/nowhere/at/all'])
    assert error.value.code == 2 and '/nowhere/at/all' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['odd.npz', 'anchors.txt', 'image2.json', 'voc_det_car.txt', 'folder'])
def test_a_file_that_no_vector_reads_is_not_understood(vectors, name):
    (vectors / name).mkdir() if name == 'folder' else (vectors / name).write_text('{}')
    passed, rows = table(vectors)
    assert not passed
    assert [row.split()[0] for row in rows if row.endswith('NOT UNDERSTOOD')] == [name]


def test_an_array_that_no_comparison_reads_is_not_understood(vectors):
    rewrite_arrays(vectors / 'nms.npz', gpu_tie=np.zeros(2))
    passed, rows = table(vectors, 'nms')
    assert not passed and any('nms.npz: gpu_tie' in row and row.endswith('NOT UNDERSTOOD') for row in rows)


def test_a_key_at_any_depth_that_no_comparison_reads_is_not_understood(vectors):
    rewrite_json(vectors / 'assign_anchor.json', lambda record: record[1]['shapes'].update(bbox_extra=[1]))
    rewrite_json(vectors / 'lr.json', lambda record: record['schedules'][0].update(cycles=2))
    passed, rows = table(vectors)
    unknown = [row.split()[2] for row in rows if row.endswith('NOT UNDERSTOOD')]
    assert not passed and unknown == ['[1].shapes.bbox_extra', 'schedules[0].cycles']


def test_a_missing_array_stops_that_vector_and_says_which(vectors):
    rewrite_arrays(vectors / 'boxes.npz', clip_2=None)
    passed, rows = table(vectors, 'boxes')
    assert not passed and any('boxes.npz has no array clip_2' in row for row in rows)


def test_cases_without_arrays_are_noticed(vectors):
    rewrite_json(vectors / 'anchors.json', lambda record: record.append(record[0]))
    passed, rows = table(vectors, 'anchors')
    assert not passed and any('describes 2 cases' in row for row in rows)


def test_a_setting_that_is_not_known_stops_the_vector(vectors):
    rewrite_json(vectors / 'assign_anchor.json', lambda record: record[0]['overrides'].update(RPN_MODE=1))
    passed, rows = table(vectors, 'assign_anchor')
    assert not passed and any('RPN_MODE' in row for row in rows)


def test_a_departure_passes_only_if_the_releases_rule_gives_their_numbers(vectors):
    # With our rule the copies of the RoI have the label -1, with the release's 0: 2 is neither.
    rewrite_arrays(vectors / 'sample_rois.npz', out_labels_0=np.array([1, 0, 2], dtype=np.float32))
    passed, rows = table(vectors, 'sample_rois')
    assert not passed and [row.split()[3] for row in rows if 'FALLS SHORT' in row and 'labels' in row] == ['labels']


def test_more_cases_and_other_numbers_of_the_same_format_pass(vectors):
    # A square of 8 * 4 = 32 pixels around (3.5, 3.5): 3.5 -+ 15.5.
    rewrite_json(vectors / 'anchors.json', lambda record: record.append({'base_size': 8, 'ratios': [1], 'scales': [4]}))
    rewrite_arrays(vectors / 'anchors.npz', anchors_1=np.array([[-12.0, -12.0, 19.0, 19.0]]))
    assert table(vectors, 'anchors')[0]


def test_a_class_whose_objects_need_not_be_found_passes_with_the_releases_numbers(golden, tmp_path):
    for path in golden.glob('voc_*'):
        shutil.copy(str(path), str(tmp_path / path.name))

    def add_cats(record):
        image = record['ids'][0]
        record['gt'][image].append({'name': 'cat', 'bbox': [1, 1, 10, 10], 'difficult': 1})
        record['dets']['cat'] = {image: [[200, 200, 230, 230, 0.5]]}
        curve = {'rec': [float('nan')], 'prec': [0.0]}      # 0 right ones of 0 objects
        record['results'].update({'cat|0.5|07': dict(curve, ap=0.0), 'cat|0.5|area': dict(curve, ap=float('nan'))})
    rewrite_json(tmp_path / 'voc_eval.json', add_cats)
    passed, rows = table(tmp_path)
    assert passed, '\n'.join(rows)


def test_drops_that_the_release_counts_from_where_it_resumes_may_be_an_update_off(vectors):
    # (2.3 - 1) * 250 is 324.99999999999994, which the release cuts off.
    resumed = dict(lr=0.1, lr_step='2.3', lr_factor=0.1, len_roidb=1000, batch_size=4, begin_epoch=1, lr_iters=[324],
                   start_lr=0.1)
    rewrite_json(vectors / 'lr.json', lambda record: record['epoch_conversion'].append(resumed))
    passed, rows = table(vectors, 'lr')
    assert passed, '\n'.join(rows)


def test_proposals_of_deltas_beyond_our_limit_pass_by_the_releases_rule_alone(tmp_path):
    case = dict(A=3, fh=6, fw=7, ratios=[0.5, 1, 2], scales=[0.125], im_info=[96.0, 112.0, 1.0], bbox_std=3.0,
                input_seed=1, inputs_stored=False, npr_seed=2, rpn_min_size=0, rpn_pre_nms_top_n=100,
                rpn_post_nms_top_n=20, threshold=0.7, cpu_nms_same_as_py_nms=True)
    inputs = proposals.rpn_output(case, None, 0)
    python = proposals.run_unlimited(inputs, case)
    native = proposals.run_operator(mx.sym.contrib.MultiProposal, inputs, case)
    case.update(('crc_' + name, zlib.crc32(inputs[name].tobytes())) for name in ('cls_prob', 'bbox_pred'))
    case.update(py_unique=python['different rois'], cxx_unique=native['different rois'],
                npr_randint_2p30_after=python['draw afterwards'])
    found = list(proposals.agreement(python, native, case).values())
    case.update(same_rows_py_cxx=found[0], first_100_equal=found[1], max_abs_py_cxx_common_prefix=float(found[2]))
    (tmp_path / 'proposal.json').write_text(json.dumps([case]))
    np.savez(str(tmp_path / 'proposal.npz'), py_rois_0=python['rois'], py_score_0=python['scores'],
             cxx_rois_0=native['rois'], cxx_score_0=native['scores'])
    passed, rows = table(tmp_path)
    assert passed, '\n'.join(rows)
    assert any('rows that the two share' in row and 'departs' in row for row in rows)


def test_detections_of_deltas_beyond_our_limit_pass_by_the_releases_rule_alone(tmp_path):
    # The first RoI, a pixel, grows to 403 pixels, those of the second one: the release keeps one of them, we both.
    side = np.exp(np.float64(6))
    arrays = dict(rois_0_0=[[0, 500, 500, 500, 500], [0, 500.5 - side / 2, 500.5 - side / 2, 499.5 + side / 2,
                                                      499.5 + side / 2]],
                  cls_prob_0_0=[[[0.1, 0.9], [0.2, 0.8]]], bbox_pred_0_0=np.zeros((1, 2, 8)),
                  data_shape_0_0=[1, 3, 1000, 1000], scale_0_0=1.0)
    arrays['bbox_pred_0_0'][0, 0, 6:] = 6
    box = arrays['rois_0_0'][1][1:]
    arrays.update(im_detect_scores_0=arrays['cls_prob_0_0'][0], dets_0_0=[[1] + box + [0.9]],
                  im_detect_boxes_0=[[500] * 4 + box, box + box])
    np.savez(str(tmp_path / 'postprocess.npz'), **arrays)
    (tmp_path / 'postprocess.json').write_text(json.dumps([dict(
        CLASS_AGNOSTIC=True, NMS=0.3, kept=[1], max_per_image=10, num_classes=2, thresh=0.001)]))
    passed, rows = table(tmp_path)
    assert passed, '\n'.join(rows)
    assert sum(' departs: ' in row for row in rows) == 3


def test_errors_are_measured_and_judged():
    theirs = np.array([[1.0, -200.0]])
    errors = compare(theirs + 0.009, theirs, PIXELS)
    assert errors.near and errors.shape == '1x2'
    assert errors.absolute == pytest.approx(0.009) and errors.relative == pytest.approx(0.009 / 200)
    assert compare(theirs + 0.009, theirs, NETWORK).near           # 1e-4 of 200 is 0.02
    assert not compare(theirs + 0.009, theirs, PLAIN).near         # 1e-5 for the first, 2e-3 for the second
    assert not compare(theirs + 1e-12, theirs, EXACT).near


def test_a_shape_that_differs_is_said_and_falls_short():
    errors = compare(np.zeros((2, 3)), np.zeros((3, 2)), NETWORK)
    assert errors.shape == '2x3 not 3x2' and not errors.near


def test_nan_equals_nan_and_nothing_else():
    assert compare([1.0, np.nan], [1.0, np.nan], PLAIN).near
    assert not compare([1.0, np.nan], [1.0, 2.0], NETWORK).near
    assert not compare([1.0, 2.0], [1.0, np.nan], NETWORK).near
    assert not compare([1.0, 2.0], [1.0, np.inf], NETWORK).near
    assert compare([np.inf], [np.inf], EXACT).near


def test_what_is_no_array_is_equal_or_not():
    assert compare({'a': (1, 2)}, {'a': (1, 2)}, EXACT).near
    assert not compare([(1, 2), (3,)], [(1, 2), (4,)], EXACT).near
    assert not compare(None, 3.0, PLAIN).near


def test_a_report_without_rows_has_not_passed():
    assert not Report(io.StringIO()).passed


def test_rows_in_another_order_are_matched_one_to_one():
    theirs = np.array([[1.0], [2.0], [2.0], [5.0]])
    assert list(match_rows(theirs[[3, 0, 1, 2]] + 0.001, theirs, 0.01)) == [1, 2, 3, 0]
    assert list(match_rows(np.array([[5.0], [2.0], [1.0], [1.0]]), theirs, 0.01)) == [0, 1, 2, 3]  # 2 is there once


def test_outputs_of_rois_in_another_order_are_put_into_theirs_and_it_is_said(tmp_path):
    rois = np.array([[0, 1, 1, 9, 9], [0, 5, 5, 30, 30], [0, 2, 2, 8, 8]], dtype=float)
    ours = {'rois': rois, 'cls_prob': np.array([[[0.1], [0.2], [0.3]]]), 'rpn_cls_act': np.array([[0.5, 0.6, 0.7]])}
    np.savez(str(tmp_path / 'net.npz'), x_rois=rois[[2, 0, 1]], x_cls_prob=ours['cls_prob'][:, [2, 0, 1]],
             x_rpn_cls_prob=ours['rpn_cls_act'])
    stream = io.StringIO()
    report = Report(stream)
    check_outputs(Vector(tmp_path, 'net'), 'x_', ours, report)
    assert report.passed and stream.getvalue().count('ok: rows in another order') == 3


def test_a_training_step_whose_rois_are_in_another_order_is_compared_roi_by_roi(tmp_path):
    prob = np.array([[[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]])
    ours = {'cls_prob': prob, 'rcnn_label': np.array([[1, -1, 0]])}
    np.savez(str(tmp_path / 'net.npz'), x_cls_prob=prob[:, [2, 0, 1]], x_rcnn_label=[[0, 1, -1]])
    report = Report(io.StringIO())
    check_step_outputs(Vector(tmp_path, 'net'), 'x_', ours, report)
    assert report.passed
    report = Report(io.StringIO())
    check_step_outputs(Vector(tmp_path, 'net'), 'x_', dict(ours, rcnn_label=np.array([[1, 0, -1]])), report)
    assert not report.passed


def test_only_copies_change_places():
    theirs = np.array([[0.0], [-1.0], [3.0], [-1.0]])
    fingerprints = np.array([[7], [7], [8], [9]])
    # The first two are copies, of which one is kept; the last two are not.
    for ours, can_be_theirs in (([-1, 0, 3, -1], True), ([0, -1, -1, 3], False), ([0, 0, 3, -1], False)):
        exchanged = exchange_copies(np.reshape(ours, (4, 1)), theirs, fingerprints, near=0)
        assert (exchanged.tolist() == theirs.tolist()) == can_be_theirs


def test_reading_is_recorded_at_every_depth(tmp_path):
    (tmp_path / 'x.json').write_text('{"a": {"b": 1, "c": [{"d": 2, "e": 3}]}, "f": 4}')
    np.savez(str(tmp_path / 'x.npz'), used=1, unused=2)
    vector = Vector(tmp_path, 'x')
    assert vector['used'] == 1 and vector.record['a']['c'][0]['d'] == 2 and 'f' in vector.record
    assert vector.not_understood() == ['x.npz: unused', 'x.json: f', 'x.json: a.b', 'x.json: a.c[0].e']
    assert plain(vector.record)['a'] == {'b': 1, 'c': [{'d': 2, 'e': 3}]}
    assert vector.not_understood() == ['x.npz: unused']


def test_a_parameter_depends_on_name_and_salt_and_has_the_scale_of_its_kind():
    weight = make_parameter('conv1_weight', (64, 3, 7, 7), 0)
    assert weight.dtype == np.float32 and weight.std() == pytest.approx(np.sqrt(2 / 147), rel=0.05)
    assert make_parameter('rpn_bbox_pred_weight', (36, 512, 1, 1), 0).std() == pytest.approx(0.07 / 16, rel=0.05)
    assert make_parameter('bn2a_branch1_moving_var', (10,), 0).min() > 0
    assert make_parameter('bn_conv1_moving_var', (1000,), 0).mean() == pytest.approx(1e4, rel=0.1)
    assert (make_parameter('conv1_weight', (64, 3, 7, 7), 1) != weight).any()
    assert (make_parameter('conv2_weight', (64, 3, 7, 7), 0) != weight).any()
    with pytest.raises(ValueError, match='rois'):
        make_parameter('rois', (1,), 0)


@pytest.mark.parametrize('name, shape, expected', [     # what the generator of the original's vectors gave, salt 11
    ('rfcn_cls_weight', (2, 3, 1, 1), [0.13794647, 0.85985762, -1.9987507, -1.8153971, -0.73045576, 2.2027729]),
    ('conv1_weight', (1, 2, 1, 1), [0.70894235, 0.096432514]), ('bn5a_branch2c_gamma', (2,), [0.1439061, 0.25174737]),
    ('bn_conv1_moving_var', (2,), [7666.8184, 9878.8232]), ('rpn_bbox_pred_bias', (2,), [-0.01757201, -0.0042867805]),
    ('bn2a_branch1_moving_mean', (2,), [-0.21531288, -0.080347113]),
    ('bn3b1_branch2a_beta', (2,), [0.028348476, 0.031512532])])
def test_a_parameter_is_that_of_the_vectors_own_generator(name, shape, expected):
    np.testing.assert_allclose(make_parameter(name, shape, 11).ravel(), expected, rtol=1e-6)
