"""Ours beside the best of the others, in one run: OpenVINO on the convolutions of the same network, PyTorch's training.

Ours is whole: from an image file to boxes, and a training step with proposals, OHEM and update. Theirs is the
convolutions alone: from the input to the RPN's and the position-sensitive maps, and for PyTorch their gradients and the
update (channels_last, BatchNorm as a fixed scale and shift). Same shapes, same random weights; all take turns.

Needs the packages of NEEDED; what is absent is left out, with a sentence.
"""
import ast
import importlib.util
import json
import os
import tempfile
import time

import mxnet as mx

from experiments.bench import measure, subjects, training
from lib.errors import UserError
from rfcn.exporters.onnx_graph import Graph
from rfcn.exporters.onnx_layers import add_network
from rfcn.precision.bf16 import has_bf16
from rfcn.precision.cpu import cores
from rfcn.symbols import make_symbol

MAPS = ('rpn_cls_score', 'rpn_bbox_pred', 'rfcn_cls', 'rfcn_bbox')
SHAPE = (1, 3, subjects.HEIGHT, subjects.WIDTH)
HINTS = {subjects.FP32: 'f32', subjects.BF16: 'bf16', subjects.INT8: 'f32'}     # OpenVINO's names; INT8 is in the graph
OURS, OPENVINO, PYTORCH = 'ours', 'OpenVINO, convolutions', 'PyTorch, convolutions'
NEEDED = {OPENVINO: ('onnx', 'openvino', 'nncf'), PYTORCH: ('torch',)}


def run(short):
    """Rows of the table: for one thread and for all cores, what a detection and a training step take."""
    lacking = {name: [package for package in packages if importlib.util.find_spec(package) is None]
               for name, packages in NEEDED.items()}
    for name, packages in lacking.items():
        if packages:
            print('%s is left out: pip install %s' % (name, ' '.join(packages)))
    if all(lacking.values()):
        raise UserError('there is nobody to compare with: pip install %s' % ' '.join(sum(lacking.values(), [])))
    present = [name for name, packages in lacking.items() if not packages]
    rows = []
    for threads in sorted({1, cores() or 1}):
        for what in ('detection', 'training step'):
            rows += measure.in_process('peers', dict(OMP_NUM_THREADS=str(threads)), what=what, threads=threads,
                                       present=present, rounds=3 if short else 9)
    return rows


def work(what, threads, present, rounds):
    """The rows of a kind of work, in a process that has so many threads."""
    with tempfile.TemporaryDirectory() as folder:
        roidb = subjects.write_images(folder, 2)
        functions = (detections if what == 'detection' else steps)(roidb, threads, present)
        seconds = measure.in_turn({name: with_cpu_time(function) for name, function in functions.items()}, rounds,
                                  warm_up=2)
    rows = []
    for (who, precision), parts in seconds.items():
        theirs = seconds.get((OPENVINO if what == 'detection' else PYTORCH, precision))
        rows.append({'what': what, 'threads': threads, 'who': who, 'precision': precision, 'wall s': parts['total'],
                     'CPU s': parts['cpu'], 'ours / theirs, CPU': parts['cpu'] / theirs['cpu']
                     if theirs and who == OURS else ''})
    return rows


def with_cpu_time(function):
    """A function that returns the CPU seconds of another, on all threads of the process."""
    def timed():
        started = time.process_time()
        function()
        return {'cpu': time.process_time() - started}
    return timed


def convolutions(depth=101):
    """The graph from the image to the maps, and its parameters."""
    symbol = make_symbol(subjects.config(depth)).get_symbol(is_train=False)
    params = subjects.random_params(symbol, {'data': SHAPE, 'im_info': (1, 3)})
    internals = symbol.get_internals()
    return (mx.sym.Group([internals[name + '_output'] for name in MAPS]),) + params


def detections(roidb, threads, present):
    """(who, precision) -> a function that detects on one image, or computes its maps."""
    precisions = [subjects.FP32] + [subjects.BF16] * has_bf16() + [subjects.INT8]
    detection = subjects.Detection(101, roidb, precisions=precisions)
    functions = {(OURS, precision): lambda precision=precision: detection.run(precision) for precision in precisions}
    if OPENVINO in present:
        compiled = openvino_models(threads, precisions, detection.batch().data[0].asnumpy())
        functions.update({(OPENVINO, precision): compute for precision, compute in compiled.items()})
    return functions


def openvino_models(threads, precisions, data):
    """Precision -> a function that computes the maps of an image with OpenVINO."""
    import nncf
    import openvino
    graph = Graph()
    graph.input('data', SHAPE)
    for name, value in zip(MAPS, add_network(graph, *convolutions())):
        graph.output(name, value, (1, None, None, None))
    core, functions = openvino.Core(), {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'maps.onnx')
        graph.save(path, {})
        for precision in precisions:
            model = core.read_model(path)
            if precision == subjects.INT8:
                model = nncf.quantize(model, nncf.Dataset([data]), subset_size=1)
            settings = {'INFERENCE_PRECISION_HINT': HINTS[precision], 'INFERENCE_NUM_THREADS': threads}
            request = core.compile_model(model, 'CPU', settings).create_infer_request()
            functions[precision] = lambda request=request: request.infer({'data': data})
    return functions


def steps(roidb, threads, present):
    """(who, precision) -> a function that trains one step on an image."""
    precisions = [subjects.FP32] + [subjects.BF16] * has_bf16()
    ours = {precision: training.Training(101, precision, roidb) for precision in precisions}
    functions = {(OURS, precision): lambda one=one: one.steps(1) for precision, one in ours.items()}
    if PYTORCH in present:
        functions.update({(PYTORCH, precision): torch_step(threads, precision) for precision in precisions})
    return functions


def torch_step(threads, precision):
    """A function that makes one step of SGD on the maps of an image with PyTorch; what our rows freeze is frozen."""
    import torch
    torch.set_num_threads(threads)
    symbol, arg_params, aux_params = convolutions()
    fixed = subjects.config(101).network.FIXED_PARAMS
    weights = {name: torch.nn.Parameter(torch.from_numpy(value.asnumpy()).contiguous(
        memory_format=torch.channels_last if value.ndim == 4 else torch.contiguous_format),
        requires_grad=not any(part in name for part in fixed))
        for name, value in dict(arg_params, **aux_params).items()}
    trained = [weight for weight in weights.values() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-9, momentum=0.9, weight_decay=0.0005)
    data = torch.randn(SHAPE).to(memory_format=torch.channels_last)
    nodes = json.loads(symbol.tojson())

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=precision == subjects.BF16):
            maps = torch_forward(torch, nodes, weights, data)
        sum((one.float() ** 2).mean() for one in maps).backward()
        optimizer.step()
    return step


def torch_forward(torch, graph, weights, data):
    """The outputs of a graph of MXNet's convolutions, computed by PyTorch."""
    functional, values = torch.nn.functional, []
    for node in graph['nodes']:
        inputs = [values[number] for number, _, _ in node['inputs']]
        attributes = {name: ast.literal_eval(text) if text[:1] in '(0123456789TF' else text
                      for name, text in node.get('attrs', {}).items()}
        if node['op'] == 'null':
            found = data if node['name'] == 'data' else weights[node['name']]
        elif node['op'] == 'Convolution':
            found = functional.conv2d(*inputs, stride=attributes.get('stride', 1), padding=attributes.get('pad', 0),
                                      dilation=attributes.get('dilate', 1))
        elif node['op'] == 'BatchNorm':
            x, gamma, beta, mean, var = inputs
            scale = gamma / torch.sqrt(var + float(attributes['eps']))
            found = x * scale.view(1, -1, 1, 1).to(x.dtype) + (beta - mean * scale).view(1, -1, 1, 1).to(x.dtype)
        elif node['op'] == 'Activation':
            found = functional.relu(inputs[0])
        elif node['op'] == 'Pooling':
            found = functional.max_pool2d(inputs[0], attributes['kernel'], attributes['stride'],
                                          attributes.get('pad', 0), ceil_mode='pooling_convention' in attributes)
        elif node['op'] in ('elemwise_add', 'broadcast_add'):
            found = inputs[0] + inputs[1]
        else:
            raise UserError('the comparison with PyTorch does not know the operator %s' % node['op'])
        values.append(found)
    return [values[number] for number, _, _ in graph['heads']]
