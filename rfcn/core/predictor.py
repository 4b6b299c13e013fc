"""Runs a test graph on batches of any size of image."""
import mxnet as mx


class Predictor(object):
    """A bound test graph with its parameters.

    An executor that has run keeps the weights it folded, so changed parameters need a new Predictor.

    Args:
        symbol: a test graph. data_names: its inputs.
        arg_params, aux_params: complete.
    """

    def __init__(self, symbol, data_names, context, arg_params, aux_params):
        self.module = mx.mod.Module(symbol, data_names=data_names, label_names=None, context=context)
        self.params = (arg_params, aux_params)

    def predict(self, batch):
        """Output name without '_output' and '_reshape' -> array, over all devices.

        Args:
            batch: a DataBatch.
        """
        if not self.module.binded:
            self.module.bind(batch.provide_data, for_training=False)
            self.module.set_params(*self.params, allow_extra=True)
        self.module.forward(batch, is_train=False)
        return {name.replace('_output', '').replace('_reshape', ''): value.asnumpy()
                for name, value in zip(self.module.output_names, self.module.get_outputs())}
