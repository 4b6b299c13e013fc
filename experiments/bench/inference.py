"""From an image file to boxes: ResNets in fp32 and INT8 at 600x1000, 21 classes, 300 RoIs."""
import statistics
import tempfile

from experiments.bench import measure, subjects
from experiments.bench.flops import gflop

PRECISIONS = subjects.PRECISIONS


def run(short):
    """Rows of the table of inference."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        roidb = subjects.write_images(folder, 1)
        for depth in (101,) if short else (50, 101, 152):
            rows += measured(subjects.Detection(depth, roidb), depth, rounds=5 if short else 15)
            for row in rows[-len(PRECISIONS):]:
                row['operators'], row['not convolution'] = operators(depth, row['precision'], roidb)
    for row in rows:
        row['peak MB'] = measure.in_process('detection_memory', depth=row['depth'], precision=row['precision'])
    return rows


def measured(detection, depth, rounds):
    """A row for each precision; they take turns."""
    seconds = measure.in_turn({name: lambda name=name: detection.run(name) for name in PRECISIONS}, rounds, warm_up=2)
    work = gflop(detection.symbol, data=(1, 3, subjects.HEIGHT, subjects.WIDTH), im_info=(1, 3))
    rows = []
    for precision in PRECISIONS:
        parts = seconds[precision]
        rows.append(dict(backbone='ResNet-%d' % depth, depth=depth, precision=precision, GFLOP=work, **parts))
        rows[-1].update({'GFLOP/s': work / parts['network'], 'of fp32': parts['total'] / seconds['fp32']['total']})
    return rows


def operators(depth, precision, roidb, rounds=5):
    """Where the time from file to boxes goes: kind of operator -> seconds, and the share of all that is no convolution.

    Medians of some runs, operator by operator. Operators in Python, which the profiler does not see, and the engine's
    own work are what the network takes beside its operators.
    """
    runs = []
    with measure.single_operators():
        detection = subjects.Detection(depth, roidb, precisions=(precision,))
        for _ in range(1 + rounds):
            parts = {}
            kinds = measure.by_kind(measure.operator_seconds(lambda: parts.update(detection.run(precision))))
            rest = {'besides operators': parts['network'] - sum(kinds.values())}
            share = {'not convolution': 1 - kinds.get('convolution', 0.0) / sum(parts.values())}
            runs.append(dict(kinds, **rest, **share))
    medians = {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}
    return medians, medians.pop('not convolution')


def peak_memory(depth, precision):
    """Megabytes that the detection needs at most, calibration aside."""
    with tempfile.TemporaryDirectory() as folder:
        detection = subjects.Detection(depth, subjects.write_images(folder, 1), precisions=(precision,))
        for _ in range(2):
            detection.run(precision)
    return measure.peak_megabytes()
