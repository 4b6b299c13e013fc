"""The benchmark counts, times and tabulates what it says; how fast anything is, is not tested."""
import json
import os
import stat

import mxnet as mx
import numpy as np
import pytest

from experiments import benchmark
from experiments.bench import inference, kernels, measure, report, subjects, training


@pytest.fixture
def roidb(tmp_path, monkeypatch):
    """Four images, which the network sees at a tenth of the benchmark's pixels."""
    config = subjects.config
    monkeypatch.setattr(subjects, 'config', lambda depth, *others: config(depth, 'SCALES=[[192, 320]]', *others))
    return subjects.write_images(str(tmp_path), 4)


def test_functions_take_turns_and_the_median_counts():
    calls = []

    def part(name, *seconds):
        values = iter(seconds)

        def function():
            calls.append(name)
            return {'inner': next(values)}
        return function
    medians = measure.in_turn({'a': part('a', 9.0, 1.0, 5.0, 2.0), 'b': part('b', 9.0, 3.0, 3.0, 4.0)},
                              rounds=3, warm_up=1)
    assert calls == ['a', 'b'] * 4
    assert medians['a']['inner'] == 2.0 and medians['b']['inner'] == 3.0
    assert 0 <= medians['a']['total'] < 1


def test_a_stopwatch_gives_each_part_its_own_time(monkeypatch):
    clock = iter([1.0, 3.0, 3.5, 7.5])
    monkeypatch.setattr(measure.time, 'perf_counter', lambda: next(clock))
    watch = measure.Stopwatch()
    for name in ('first', 'second', 'first'):
        watch.lap(name)
    assert watch.seconds == {'first': 6.0, 'second': 0.5}


def test_a_job_runs_in_a_process_of_its_own(monkeypatch):
    commands = []
    monkeypatch.setattr(measure.subprocess, 'run', lambda command, **_: commands.append(command) or FakeProcess())
    assert measure.in_process('train_memory', depth=50) == 12.5
    assert json.loads(commands[0][-1]) == {'depth': 50, 'job': 'train_memory'}


class FakeProcess:
    stdout = b'something a library prints\n12.5\n'


def test_all_who_suppress_boxes_keep_the_same():
    candidates = kernels.nms_candidates(300)
    kept = [sorted(np.asarray(candidates[name]()).ravel().tolist()) for name in ('compiled', 'NumPy')]
    assert kept[0] == kept[1] and 50 < len(kept[0]) < 250
    theirs = np.asarray(candidates['cv2.dnn.NMSBoxes']()).ravel().tolist()
    assert len(set(theirs) ^ set(kept[0])) <= 0.02 * len(kept[0])  # its boxes are whole numbers in some versions


def test_detection_is_timed_in_each_precision_and_in_parts(roidb):
    detection = subjects.Detection(18, roidb)
    rows = inference.measured(detection, 18, rounds=1)
    assert [row['precision'] for row in rows] == list(subjects.PRECISIONS)
    fp32, int8 = rows[0], rows[-1]
    for row in rows:
        assert row['total'] >= row['pre'] + row['network'] + row['post'] > 0
        assert row['GFLOP/s'] == pytest.approx(row['GFLOP'] / row['network'])
    assert fp32['of fp32'] == 1 and int8['of fp32'] == pytest.approx(int8['total'] / fp32['total'])


class FakeDetection:
    """Detection that says how long it took."""

    def __init__(self, depth, roidb, precisions):
        self.precisions = precisions

    def run(self, precision):
        assert precision in self.precisions
        return {'pre': 1.0, 'network': 8.0, 'post': 1.0}


def test_what_is_no_convolution_has_a_share_of_the_whole_time(monkeypatch):
    names = ('_sg_mkldnn_conv', 'Convolution', '_contrib_PSROIPooling')
    profiles = iter([dict(zip(names, seconds)) for seconds in ((9, 9, 9), (5.0, 1.0, 0.5), (5.0, 1.0, 0.5))])
    monkeypatch.setattr(subjects, 'Detection', FakeDetection)
    monkeypatch.setattr(measure, 'operator_seconds', lambda function: (function(), next(profiles))[1])
    kinds, share = inference.operators(18, 'fp32', [], rounds=2)     # the first run warms up
    assert kinds == {'convolution': 6.0, 'RoI pooling': 0.5, 'besides operators': 1.5} and share == pytest.approx(0.4)


def test_the_convolutions_of_each_precision_are_found_by_the_profiler(roidb):
    for precision in inference.PRECISIONS:
        kinds, share = inference.operators(18, precision, roidb, rounds=1)
        assert 0 < share < 1 and kinds['convolution'] > 0 and kinds['RoI pooling'] > 0
        assert ('to and from INT8' in kinds) == (precision == subjects.INT8)


def test_training_binds_nothing_anew_and_gives_frozen_parameters_no_gradient(roidb):
    with training.counting_binds() as binds:
        subject = training.Training(18, 'fp32', roidb)
        assert len(binds) == 1
        parts = [subject.step() for _ in range(3)]  # 1, 7 and 3 objects
    assert len(binds) == 1
    assert all(set(part) == {'loader', 'network', 'update', 'metrics'} for part in parts)
    frozen, with_gradient = subject.frozen()
    assert frozen > 20 and with_gradient == 0


def test_unfused_graphs_have_operators_that_fused_ones_have_not(roidb):
    with measure.single_operators():
        detection = subjects.Detection(18, roidb, precisions=(subjects.FP32, subjects.UNFUSED))
    fused, unfused = [measure.operator_seconds(lambda precision=precision: detection.run(precision))
                      for precision in (subjects.FP32, subjects.UNFUSED)]
    assert 'BatchNorm' in unfused and 'BatchNorm' not in fused and '_sg_mkldnn_conv' in fused


def test_operators_are_counted_by_kind():
    sums = measure.by_kind({'Convolution': 1.0, '_backward_Convolution': 2.0, 'sgd_mom_update': 0.5, 'Reshape': 0.1})
    assert sums == {'convolution': 3.0, 'update': 0.5, 'other': 0.1}
    assert list(sums) == ['convolution', 'update', 'other']


ROW = dict(backbone='ResNet-18', depth=18, precision='fp32', pre=0.01, network=0.5, post=0.02, total=0.53,
           operators={'convolution': 0.4, 'RoI pooling': 0.03, 'ReLU': 0.02, 'sum': 0.01, 'besides operators': 0.04})


def test_the_picture_parts_all_but_the_convolutions():
    parts = report.parts_besides_convolution(ROW)
    assert {name: round(value, 6) for name, value in parts.items()} == {
        'reading and scaling': 10, 'RoI pooling': 30, 'to and from INT8': 0, 'other operators': 30,
        'operators in Python, waiting': 40, 'choosing detections': 20}


@pytest.mark.parametrize('times', [1, 1000])
def test_every_sum_in_the_picture_stands_inside_its_panel(times):
    rows = [dict(ROW, backbone='ResNet-%d' % depth, precision=precision, total=0.53 * times, pre=0.01 * times)
            for depth in (50, 101, 152) for precision in ('fp32', 'fp32 unfused')]
    figure = report.picture(rows)
    figure.canvas.draw()
    for panel in figure.axes:
        assert len(panel.texts) == len(rows)
        for text in panel.texts:
            assert text.get_window_extent().x1 < panel.get_window_extent().x1


def test_operators_that_ran_side_by_side_leave_nothing_besides_them(monkeypatch):
    monkeypatch.setattr(subjects, 'Detection', FakeDetection)
    monkeypatch.setattr(measure, 'operator_seconds', lambda function: (function(), {'Convolution': 9.0})[1])
    kinds, _ = inference.operators(18, 'fp32', [], rounds=1)     # 9 s of operators within the network's 8 s
    assert kinds == {'convolution': 9.0, 'besides operators': 0.0}


def test_the_limits_of_the_machine_are_measured_in_each_precision(monkeypatch):
    monkeypatch.setattr(benchmark.machine, 'CONVOLUTIONS', ((16, 3, 8),))
    limits = benchmark.machine.limits(rounds=1)
    assert {'fp32', 'int8'} <= set(limits) and min(limits.values()) > 0


def test_the_script_prints_a_table_and_writes_json_and_a_picture(tmp_path, monkeypatch, capsys):
    row = dict(ROW)
    monkeypatch.setitem(benchmark.SECTIONS, 'infer', lambda short: [row])
    monkeypatch.setattr(benchmark.machine, 'limits', lambda: {'fp32': 100.0})
    benchmark.main(['infer', '--out', str(tmp_path / 'out')])
    results = json.loads((tmp_path / 'out' / 'benchmark.json').read_text())
    assert results['infer'] == [row] and results['limits, GFLOP/s'] == {'fp32': 100.0} \
        and 'revision' in results['machine']
    assert (tmp_path / 'out' / 'benchmark.png').stat().st_size > 1000
    printed = capsys.readouterr().out
    assert 'ResNet-18' in printed and '0.53' in printed


def test_what_was_measured_before_a_failure_is_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(benchmark.SECTIONS, 'train', lambda short: [{'images/s': 1.0}])
    monkeypatch.delitem(benchmark.SECTIONS, 'kernels')
    monkeypatch.setattr(benchmark.machine, 'limits', lambda: {'fp32': 100.0})
    with pytest.raises(KeyError):
        benchmark.benchmark(['train', 'kernels'], True, tmp_path)
    assert json.loads((tmp_path / 'benchmark.json').read_text())['train'] == [{'images/s': 1.0}]


def test_a_folder_that_cannot_be_written_to_is_found_out_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, 'benchmark', None)
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError):
        benchmark.main(['infer', '--out', str(tmp_path / 'file' / 'out')])


def test_a_value_that_is_a_dict_gets_a_line_of_its_own(capsys):
    report.print_table('title', [dict(name='a', seconds=1.234567, operators=dict(conv=0.5)), dict(name='bb', count=7)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ['name  seconds  count', '   a     1.23', '  bb' + 15 * ' ' + '7', 'a, operators: conv 0.5']


def test_measuring_operators_removes_no_device():
    # MXNet's profiler removes the file that it is told to write to: with /dev/null, as root, the device of the machine.
    measure.operator_seconds(lambda: mx.nd.ones((2, 2)).asnumpy())
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
