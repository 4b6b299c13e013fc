"""Runs a test graph on batches of any size of image."""
import collections

import mxnet as mx

SIZES = 6  # bound at a time


class Predictor(object):
    """A test graph with its parameters, bound to the sizes of image that it saw last.

    To bind it to a size takes MXNet, which lays out the weights anew, a tenth of a ResNet-101's time in fp32 and as
    long as the network itself in INT8; so the latest sizes are kept. They share their parameters and their memory for
    intermediate results, but each has its own weights as MXNet lays them out (some 200 MB for a ResNet-101 in fp32,
    50 MB in INT8).

    An executor that has run keeps the weights it folded, so changed parameters need a new Predictor.

    Args:
        symbol: a test graph. data_names: its inputs.
        arg_params, aux_params: complete.
    """

    def __init__(self, symbol, data_names, context, arg_params, aux_params):
        self.symbol = symbol
        self.data_names = data_names
        self.context = context
        self.params = (arg_params, aux_params)
        self.modules = collections.OrderedDict()  # shapes of the inputs -> Module, the latest last
        self._first = None

    def predict(self, batch):
        """Output name without '_output' and '_reshape' -> array, over all devices.

        Args:
            batch: a DataBatch.
        """
        module = self._module(batch.provide_data)
        module.forward(batch, is_train=False)
        return {name.replace('_output', '').replace('_reshape', ''): value.asnumpy()
                for name, value in zip(module.output_names, module.get_outputs())}

    def _module(self, provide_data):
        shapes = tuple(tuple(desc.shape) for desc in provide_data)
        if shapes not in self.modules:
            self.modules[shapes] = self._bound(provide_data)
            if len(self.modules) > SIZES:
                self.modules.popitem(last=False)
        self.modules.move_to_end(shapes)
        return self.modules[shapes]

    def _bound(self, provide_data):
        module = mx.mod.Module(self.symbol, data_names=self.data_names, label_names=None, context=self.context)
        module.bind(provide_data, for_training=False, shared_module=self._first)
        if self._first is None:
            module.set_params(*self.params, allow_extra=True)
            self._first = module
        return module
