"""Runs the nodes of an exporter's graph in NumPy, so that their arithmetic is tested where no runtime is installed.

Each operator is written after its definition in the ONNX standard, opset 13, as far as the exporter uses it.
"""
import numpy as np

_TYPES = {1: np.float32, 7: np.int64}


def run(graph, values):
    """Name -> array of everything that a `rfcn.exporters.onnx_graph.Graph` computes from its inputs `values`."""
    values = dict(graph.constants, **values)
    for node in graph.nodes:
        results = OPERATORS[node.op](*[values[name] if name else None for name in node.inputs], **node.attributes)
        for name, result in zip(node.outputs, results if isinstance(results, tuple) else (results,)):
            values[name] = result
    return values


def _slice(x, starts, ends, axes, steps=None):
    index = [slice(None)] * x.ndim
    for i, axis in enumerate(axes):
        index[axis] = slice(int(starts[i]), int(ends[i]), None if steps is None else int(steps[i]))
    return x[tuple(index)]


def _reshape(x, shape):
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(shape)])


def _top_k(x, count, axis, largest, sorted):
    order = np.argsort(-x if largest else x, kind='stable')[:int(count[0])]
    return x[order], order


def _nms(boxes, scores, most, thresh, least):
    selected = []
    for image in range(len(boxes)):
        corners = np.hstack((np.minimum(boxes[image][:, :2], boxes[image][:, 2:]),      # either corner may come first
                             np.maximum(boxes[image][:, :2], boxes[image][:, 2:])))
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        for number, of_class in enumerate(scores[image]):
            kept = []
            for i in np.argsort(-of_class, kind='stable'):
                if of_class[i] > least[0] and len(kept) < most[0] and not any(
                        _overlap(corners[i], corners[j], areas[i], areas[j]) > thresh[0] for j in kept):
                    kept.append(i)
            selected += [(image, number, i) for i in kept]
    return np.array(selected, dtype=np.int64).reshape(-1, 3)


def _overlap(a, b, area, other_area):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return sides[0] * sides[1] / (area + other_area - sides[0] * sides[1])


def _unsqueeze(x, axes):
    for axis in sorted(axes):
        x = np.expand_dims(x, axis)
    return x


def _pad(x, pads):
    return np.pad(x, list(zip(pads[:x.ndim], pads[x.ndim:])))


OPERATORS = {
    'Abs': np.abs, 'Add': np.add, 'And': np.logical_and, 'Ceil': np.ceil, 'Div': np.divide, 'Exp': np.exp,
    'Floor': np.floor, 'Greater': np.greater, 'GreaterOrEqual': np.greater_equal, 'Less': np.less,
    'MatMul': np.matmul, 'Max': np.maximum, 'Min': np.minimum, 'Mod': np.mod, 'Mul': np.multiply, 'Neg': np.negative,
    'Sign': np.sign, 'Sub': np.subtract, 'Where': np.where, 'Identity': lambda x: x,
    'Cast': lambda x, to: x.astype(_TYPES[to]),
    'Concat': lambda *arrays, axis: np.concatenate(arrays, axis),
    'Gather': lambda x, indices, axis: x.take(indices, axis),
    'GatherND': lambda x, indices: x[tuple(indices.T)],
    'NonMaxSuppression': _nms,
    'Pad': _pad,
    'Range': lambda start, end, step: np.arange(start, end, step),
    'ReduceMax': lambda x, keepdims: x.max(keepdims=bool(keepdims)).reshape((1,) * x.ndim if keepdims else ()),
    'ReduceMin': lambda x, axes, keepdims: x.min(axis=tuple(axes), keepdims=bool(keepdims)),
    'ReduceSum': lambda x, axes, keepdims: x.sum(axis=tuple(axes), keepdims=bool(keepdims)),
    'Reshape': _reshape,
    'Shape': lambda x: np.array(x.shape, dtype=np.int64),
    'Slice': _slice,
    'Squeeze': lambda x, axes: np.squeeze(x, tuple(axes)),
    'TopK': _top_k,
    'Transpose': lambda x, perm: x.transpose(perm),
    'Unsqueeze': _unsqueeze,
}
