"""An ONNX graph in the making: nodes and constants with names, as plain data that becomes an ONNX model at the end.

    graph = Graph()
    boxes = graph.input('boxes', ('N', 4))
    graph.output('shifted', graph('Add', boxes, np.float32(1)), (None, 4))
    graph.save('model.onnx', metadata={})

Only `save` needs the package onnx, so that the arithmetic can be tested where it is absent.
"""
from collections import namedtuple

import numpy as np

from lib.errors import UserError, error_line

OPSET = 13        # of ai.onnx, the standard operators
IR_VERSION = 8    # of the file; ONNX Runtime reads it since 1.10
FLOAT, INT64 = 1, 7     # TensorProto's numbers of the types, which are part of the format

Node = namedtuple('Node', 'op inputs outputs attributes')   # names are str; attributes: name -> value
Value = namedtuple('Value', 'name shape')                   # a dimension is a number, a name or None: unknown


class Graph:
    """Nodes in the order in which they are computed, each with inputs that come before it.

    A call adds a node: `graph('Add', x, y)` returns the name of its output. Inputs are names, NumPy arrays or NumPy
    numbers, which become constants, or None where an optional input is left out.
    """

    def __init__(self):
        self.inputs, self.outputs, self.nodes = [], [], []
        self.constants = {}         # name -> array
        self._known = {}            # content of a constant -> its name

    def __call__(self, op: str, *inputs, outputs: int = 1, **attributes):
        """Add a node. Returns the name of its output, or a list of them where there are several."""
        names = ['%s_%d' % (op.lower(), len(self.nodes))]
        names += ['%s_%d' % (names[0], number) for number in range(1, outputs)]
        self.nodes.append(Node(op, [self._name(value) for value in inputs], names, attributes))
        return names[0] if outputs == 1 else names

    def input(self, name: str, shape) -> str:
        """A float32 input of the graph. Returns its name."""
        self.inputs.append(Value(name, shape))
        return name

    def output(self, name: str, value: str, shape) -> None:
        """Make a value an output of the graph, under that name."""
        self.nodes.append(Node('Identity', [value], [name], {}))
        self.outputs.append(Value(name, shape))

    def parameter(self, name: str, array) -> str:
        """A constant with a name of its own, such as a layer's weights. Returns the name."""
        self.constants[name] = np.asarray(array)
        return name

    def _name(self, value):
        if value is None:
            return ''
        if isinstance(value, str):
            return value
        if not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError('a constant must be a NumPy array or number, which has a dtype, not %r' % (value,))
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self._known:
            self._known[key] = self.parameter('constant_%d' % len(self._known), value)
        return self._known[key]

    def save(self, path: str, metadata: dict, integer_outputs=()) -> None:
        """Write the model and check it with onnx's checker.

        Args:
            path: of the file. metadata: name -> text, which the file carries.
            integer_outputs: names of outputs that are int64 and not float32.
        Raises:
            UserError: the package onnx is not installed, or cannot be imported.
        """
        try:
            import onnx
        except Exception as error:      # a package that does not suit another one can fail in any way
            absent = isinstance(error, ModuleNotFoundError) and error.name == 'onnx'
            remedy = 'pip install onnx' if absent else 'it is installed, and its import fails: ' + error_line(error)
            raise UserError('to write an ONNX file takes the package onnx: ' + remedy) from error
        from onnx import TensorProto, helper, numpy_helper
        inputs = [helper.make_tensor_value_info(value.name, TensorProto.FLOAT, value.shape) for value in self.inputs]
        outputs = [helper.make_tensor_value_info(
            value.name, TensorProto.INT64 if value.name in integer_outputs else TensorProto.FLOAT, value.shape)
            for value in self.outputs]
        nodes = [helper.make_node(node.op, node.inputs, node.outputs, name=node.outputs[0], **node.attributes)
                 for node in self.nodes]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        model = helper.make_model(helper.make_graph(nodes, 'rfcn', inputs, outputs, constants), ir_version=IR_VERSION,
                                  opset_imports=[helper.make_opsetid('', OPSET)], producer_name='rfcn')
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def ints(*values):
    """An int64 vector, as ONNX wants shapes, axes and indices."""
    return np.array(values, dtype=np.int64)


def columns(graph: Graph, x: str, start: int, end: int) -> str:
    """x[..., start:end]"""
    return graph('Slice', x, ints(start), ints(end), ints(-1), ints(1))


def size_of(graph: Graph, x: str, axis: int) -> str:
    """The length of an axis, (1,) int64."""
    return graph('Gather', graph('Shape', x), ints(axis), axis=0)


def numbers_to(graph: Graph, length: str) -> str:
    """0, 1, ... below `length` (1,) int64, as float32."""
    end = graph('Squeeze', length, ints(0))
    return graph('Cast', graph('Range', np.int64(0), end, np.int64(1)), to=FLOAT)
