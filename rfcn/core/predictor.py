"""Runs a test graph on batches of any size of image."""
import collections

import mxnet as mx

from lib.utils.memory import give_back
from rfcn.operator_py import draws

SIZES, INT8_SIZES = 2, 4  # of image that are kept bound on a device, such as an upright and a wide one


def blob_name(output):
    """The name of a blob from that of an output, without '_output' and '_reshape'."""
    return output.replace('_output', '').replace('_reshape', '')


class Predictor:
    """A test graph with its parameters, bound on each device to the sizes of image that it saw last.

    To bind it to a size takes MXNet, which lays out the weights anew, a tenth of a ResNet-101's time in fp32 and as
    long as the network itself in INT8; so the latest sizes are kept. They share their parameters and their memory for
    intermediate results, but each has its own weights as MXNet lays them out: for a ResNet-101 200 MB in fp32, 110 in
    bf16 and 65 in INT8. That bounds how many are kept.

    An executor that has run keeps the weights it folded, so changed parameters need a new Predictor.

    Args:
        symbol: a test graph. data_names: its inputs.
        context: list of mx.Context, the devices.
        arg_params, aux_params: complete.
        sizes: how many sizes of image are kept bound on a device; at least 2, as a new one shares the memory of the
            latest one.
    """

    def __init__(self, symbol, data_names, context, arg_params, aux_params, sizes=SIZES):
        self.symbol = symbol
        self.data_names = data_names
        self.context = context
        self.params = (arg_params, aux_params)
        self.sizes = sizes
        self._modules = [collections.OrderedDict() for _ in context]  # shapes of the inputs -> Module, the latest last

    @property
    def devices(self):
        """How many batches `predict_each` sees at a time."""
        return len(self.context)

    def predict(self, batch):
        """`blob_name` of an output -> array.

        Args:
            batch: a DataBatch for one device.
        """
        return self.predict_each([batch])[0]

    def predict_each(self, batches):
        """The same for as many batches as there are devices, or fewer, each on a device and in a shape of its own."""
        modules = [self._module(device, batch.provide_data) for device, batch in enumerate(batches)]
        for module, context, batch in zip(modules, self.context, batches):
            draws.use(context, getattr(batch, 'seeds', None))
            module.forward(batch, is_train=False)   # which does not wait for the result
        return [{blob_name(name): value.asnumpy()
                 for name, value in zip(module.output_names, module.get_outputs())} for module in modules]

    def _module(self, device, provide_data):
        modules, shapes = self._modules[device], tuple(tuple(desc.shape) for desc in provide_data)
        if shapes not in modules:
            if len(modules) == self.sizes:  # before the new one is there: its weights would add to the peak
                modules.popitem(last=False)
                give_back()
            modules[shapes] = self._bound(device, provide_data)
        modules.move_to_end(shapes)
        return modules[shapes]

    def _bound(self, device, provide_data):
        module = mx.mod.Module(self.symbol, data_names=self.data_names, label_names=None, context=self.context[device])
        latest = next(reversed(self._modules[device].values()), None)
        module.bind(provide_data, for_training=False, shared_module=latest)
        if latest is None:
            module.set_params(*self.params, allow_extra=True)
        return module
