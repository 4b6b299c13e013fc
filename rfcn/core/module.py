"""MXNet's Module with what training R-FCN needs around it: which parameters are fixed, momentum by name, accumulation.
"""
import os

import mxnet as mx

from lib.errors import ConfigError
from rfcn.core.rates import names_beginning_with, with_kept_statistics, with_lr_mult


def contexts(gpus):
    """'0,1' -> [gpu(0), gpu(1)]; '' -> [cpu()].

    Raises:
        ConfigError: a GPU that this machine does not have, or that this MXNet cannot use.
    """
    ids = [int(i) for i in str(gpus).replace(' ', '').split(',') if i != '']
    available = mx.context.num_gpus() if ids else 0
    missing = [i for i in ids if i >= available]
    if missing:
        raise ConfigError("gpus: there is no GPU %s for MXNet here (it finds %d); write gpus: '' to run on the CPU, or "
                          'install mxnet-cu112 for an NVIDIA GPU' % (', '.join(map(str, missing)), available))
    return [mx.gpu(i) for i in ids] or [mx.cpu()]


def fixed_param_names(symbol, fragments):
    """Parameters that are not trained: those whose name contains one of `fragments`.

    The release calls these prefixes and tests for substrings; 'gamma' would fix nothing otherwise, and published
    results depend on it, so this is kept.
    """
    return [name for name in symbol.list_arguments() if any(fragment in name for fragment in fragments)]


class TrainModule(mx.mod.Module):
    """A Module for training on one or several devices.

    Args:
        fixed: names or parts of names, see `fixed_param_names`; a BatchNorm so named keeps its statistics too.
        accumulate: batches whose gradients are added up before an update.
        frozen: beginnings of the names of more layers that are not trained.
        lr_mult: beginning of a name -> multiplier of the learning rate, see `with_lr_mult`.
    """

    def __init__(self, symbol, data_names, label_names, context, fixed=(), accumulate=1, frozen=(), lr_mult=None):
        not_trained = fixed_param_names(symbol, fixed) + names_beginning_with(symbol, frozen, 'TRAIN.FREEZE')
        fixed_names = [name for name in symbol.list_arguments()
                       if name in not_trained and name not in label_names and name not in data_names]
        graph = with_lr_mult(with_kept_statistics(symbol, fixed, frozen), lr_mult)
        super(TrainModule, self).__init__(graph, data_names=data_names, label_names=label_names, context=context,
                                          fixed_param_names=fixed_names)
        self.accumulate = accumulate
        self._pending = 0

    def start(self, first_batch, arg_params, aux_params, optimizer_params, kvstore):
        """Bind to the shapes of a batch, set the parameters, make the optimizer (SGD with momentum)."""
        self.bind(first_batch.provide_data, first_batch.provide_label, for_training=True,
                  grad_req='add' if self.accumulate > 1 else 'write')
        self.set_params(arg_params, aux_params, allow_extra=True)
        if 'dist' not in kvstore:
            os.environ['MXNET_UPDATE_ON_KVSTORE'] = '0'  # each device updates its copy, so momentum can be read back
        self.init_optimizer(kvstore=kvstore, optimizer='sgd', optimizer_params=optimizer_params)

    def step(self, batch):
        """Forward, backward, and an update after every `accumulate` batches. Returns whether it updated."""
        self.forward_backward(batch)
        self._pending += 1
        return self._pending == self.accumulate and self.finish_update()

    def finish_update(self):
        """Update with the gradients since the last update, if there are any. Returns whether it updated."""
        if not self._pending:
            return False
        self.update()
        self._pending = 0
        if self.accumulate > 1:
            for gradients in self._exec_group.grad_arrays:
                for gradient in gradients:
                    if gradient is not None:
                        gradient[:] = 0
        return True

    def get_params(self):
        """Name -> parameter, and name -> auxiliary state, as they are after the last step."""
        mx.nd.waitall()  # MXNet lets BatchNorm's statistics be read before the backward pass that writes them has ended
        return super(TrainModule, self).get_params()

    def named_outputs(self):
        """Output name without '_output' and '_reshape' -> NDArray of the last step, over all devices."""
        return {name.replace('_output', '').replace('_reshape', ''): value
                for name, value in zip(self.output_names, self.get_outputs())}

    @property
    def num_update(self):
        """Updates so far."""
        return self._optimizer.num_update

    @property
    def learning_rate(self):
        """Of the last update."""
        return self._optimizer.learning_rate

    def momenta(self):
        """Parameter name -> momentum; all devices hold the same one. Empty where a distributed store keeps it."""
        if self._updater is None:
            return {}
        names, devices = self._optimizer.idx2name, len(self._context)
        return {names[i]: state for i, state in self._updater.states.items() if state is not None and i % devices == 0}

    def set_momenta(self, momenta, num_update):
        """Take up training where it stood after `num_update` updates."""
        self._optimizer.begin_num_update = self._optimizer.num_update = num_update
        for i, name in self._optimizer.idx2name.items():
            if name in momenta and self._updater is not None:
                self._updater.states[i] = momenta[name].copyto(self._context[i % len(self._context)])
                self._updater.states_synced[i] = True
