"""A training graph on one or several devices: which parameters are fixed, gradients, updates, momentum by name."""
import json
import re

import mxnet as mx
import numpy as np

from lib.errors import ConfigError
from lib.utils.memory import give_back, resident
from rfcn.core.detect import blob_name
from rfcn.core.schedule import names_beginning_with, with_kept_statistics, with_lr_mult
from rfcn.core.workers import Sums
from rfcn.operator_py import use_seeds

# Memory beside a trained parameter, in units of it: gradient and momentum; in fp32 also oneDNN's own layout (measured).
COPIES = {True: 2, False: 3.5}  # with convolutions in bfloat16 or not
READ_AHEAD = 50     # megabytes, for images that are read ahead and the like


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

    The release calls the fragments prefixes, but tests for substrings. That is kept, because published results depend
    on it: as a prefix 'gamma' would fix nothing.
    """
    return [name for name in symbol.list_arguments() if any(fragment in name for fragment in fragments)]


def planned_megabytes(executor):
    """Megabytes that MXNet plans for the activations of a bound graph."""
    return int(re.search(r'Total (\d+) MB allocated', executor.debug_str()).group(1))


class Module(mx.mod.Module):
    """A Module that returns free memory to the system after it has bound its graph to another size of images."""

    def reshape(self, data_shapes, label_shapes=None):
        """Bind to other shapes."""
        super().reshape(data_shapes, label_shapes)
        give_back()


class TrainModule:
    """A graph in training on one or several devices, each of which has batches of its own shapes.

    An `mx.mod.Module` for each device computes the gradients of that device's images; they are added up over devices
    and workers, and every device makes the same update of its own copy of the parameters (SGD with momentum).

    Args:
        context: list of mx.Context, the devices.
        fixed: names or parts of names, see `fixed_param_names`; a BatchNorm so named keeps its statistics too.
        accumulate: batches whose gradients are added up before an update.
        frozen: beginnings of the names of more layers that are not trained.
        lr_mult: beginning of a name -> multiplier of the learning rate, see `with_lr_mult`.
    Source: the release's DataParallelExecutorGroup, which also gives each device a shape of its own.
    """

    def __init__(self, symbol, data_names, label_names, context, fixed=(), accumulate=1, frozen=(), lr_mult=None):
        not_trained = fixed_param_names(symbol, fixed) + names_beginning_with(symbol, frozen, 'TRAIN.FREEZE')
        self.fixed_names = [name for name in symbol.list_arguments()
                            if name in not_trained and name not in label_names and name not in data_names]
        self.graph = with_lr_mult(with_kept_statistics(symbol, fixed, frozen), lr_mult)
        self.label_names = list(label_names)
        self.modules = [Module(self.graph, data_names=data_names, label_names=label_names, context=device,
                               fixed_param_names=self.fixed_names) for device in context]
        self.accumulate = accumulate
        self.optimizer = None
        self._sums = None
        self._learned = ()      # names of the statistics that devices or workers share
        self._updater = None
        self._pending = 0

    def start(self, first_batch, arg_params, aux_params, optimizer_params, kvstore='device', half_wire=False):
        """Bind to the shapes of a batch, set the parameters, make the optimizer (SGD with momentum).

        Args:
            first_batch: as in `step`.
            kvstore: what adds up the gradients: the name of one of MXNet's stores, or the `store` of `Workers`.
            half_wire: whether gradients travel between workers as 16-bit numbers.
        """
        for module, part in zip(self.modules, first_batch.parts):
            module.bind(part.provide_data, part.provide_label, for_training=True,
                        grad_req='add' if self.accumulate > 1 else 'write')
            module.set_params(arg_params, aux_params, allow_extra=True)
        count = len(self.modules)
        names = {i * count + k: name for i, name in enumerate(self._param_names) for k in range(count)}
        self.optimizer = mx.optimizer.create('sgd', sym=self.graph, param_idx2name=names, **optimizer_params)
        self._updater = mx.optimizer.get_updater(self.optimizer)
        self._sums = Sums(kvstore, count)
        self._sums.add_keys(dict(self._trained()), half_wire)
        self._learned = self._names_of_learned_statistics() if self._sums.shared else ()
        self._sums.add_keys(dict(self._learned_statistics()))

    def step(self, batch):
        """Forward, backward, and an update after every `accumulate` batches. Returns whether it updated.

        Args:
            batch: `Batch` for the only device, or `DeviceBatches`.
        """
        self.forward_backward(batch)
        self._pending += 1
        return self._pending == self.accumulate and self.finish_update()

    def forward_backward(self, batch):
        """Compute the gradients of a batch, on each device those of its own part."""
        for module, device, part in zip(self.modules, self.contexts, batch.parts):
            use_seeds(device, part.seeds)
            module.forward_backward(part)
        statistics = self._learned_statistics()
        if statistics:
            mx.nd.waitall()     # as in `get_params`
        for name, arrays in statistics:
            self._sums.mean(name, arrays)

    def finish_update(self):
        """Update with the gradients since the last update, if there are any. Returns whether it updated."""
        if not self._pending:
            return False
        self.update()
        self._pending = 0
        if self.accumulate > 1:
            for _, gradients in self._trained():
                for gradient in gradients:
                    gradient[:] = 0
        return True

    def update(self):
        """Add the gradients up over devices and workers, and change each device's parameters by them."""
        trained = self._trained()
        for position, (name, gradients) in enumerate(trained):
            self._sums.sum(name, gradients, priority=-position)
        weights, count = self._arrays('arg_dict'), len(self.modules)
        numbers = {name: i for i, name in enumerate(self._param_names)}
        for k in range(count):
            self._updater([numbers[name] * count + k for name, _ in trained],
                          [gradients[k] for _, gradients in trained], [weights[name][k] for name, _ in trained])

    def get_params(self):
        """Name -> parameter, and name -> auxiliary state, as they are after the last step."""
        mx.nd.waitall()  # MXNet lets BatchNorm's statistics be read before the backward pass that writes them has ended
        weights, statistics = self._arrays('arg_dict'), self._arrays('aux_dict')
        return ({name: weights[name][0].copyto(mx.cpu()) for name in self._param_names},
                {name: arrays[0].copyto(mx.cpu()) for name, arrays in statistics.items()})

    def expected_memory(self):
        """The expected peak of this process's memory in megabytes, once started with the largest batch; 0 on a GPU.

        The sum of what it holds now, MXNet's plan for the activations, and COPIES of each trained parameter. For
        ResNets it is right within a sixth (docs/memory.md).
        """
        if self.contexts[0].device_type != 'cpu':
            return 0.0
        activations = planned_megabytes(self.modules[0]._exec_group.execs[0])
        copies = COPIES['amp_cast' in self.graph.tojson(remove_amp_cast=False)]
        trained = sum(int(np.prod(arrays[0].shape)) for _, arrays in self._trained())   # numbers
        return resident() + activations + copies * 4 * trained / 2 ** 20 + READ_AHEAD

    def gradients(self):
        """Name -> gradient on the first device, of the parameters that are trained; sums after an update."""
        return {name: arrays[0] for name, arrays in self._trained()}

    def named_outputs(self, device=0):
        """`blob_name` of an output -> NDArray of the last step on a device."""
        module = self.modules[device]
        return {blob_name(name): value
                for name, value in zip(module.output_names, module.get_outputs())}

    @property
    def contexts(self):
        """The devices."""
        return [module._context[0] for module in self.modules]

    @property
    def num_update(self):
        """The number of updates so far."""
        return self.optimizer.num_update

    @property
    def learning_rate(self):
        """The learning rate of the last update."""
        return self.optimizer.learning_rate

    def momenta(self):
        """Parameter name -> momentum; all devices and workers hold the same one."""
        names, devices = self.optimizer.idx2name, len(self.modules)
        return {names[i]: state for i, state in self._updater.states.items() if state is not None and i % devices == 0}

    def set_momenta(self, momenta, num_update):
        """Continue a training that stood at `num_update` updates with these momenta."""
        self.optimizer.begin_num_update = self.optimizer.num_update = num_update
        for i, name in self.optimizer.idx2name.items():
            if name in momenta:
                self._updater.states[i] = momenta[name].copyto(self.contexts[i % len(self.modules)])
                self._updater.states_synced[i] = True

    @property
    def _param_names(self):
        return self.modules[0]._param_names

    def _arrays(self, kind):
        """Name -> its array on each device; kind: 'arg_dict', 'grad_dict' or 'aux_dict' of the executors."""
        executors = [getattr(module._exec_group.execs[0], kind) for module in self.modules]
        return {name: [arrays[name] for arrays in executors] for name in executors[0]}

    def _trained(self):
        """(name, its gradient on each device) of the parameters that are trained, in the graph's order."""
        gradients = self._arrays('grad_dict')
        return [(name, gradients[name]) for name in self._param_names if gradients[name][0] is not None]

    def _learned_statistics(self):
        """(name, its array on each device) of the statistics that BatchNorms learn on several devices or workers.

        Each of these sees other images, and after each step all take the mean of their statistics. So a resumed run,
        which has one set of statistics, equals one that never stopped.
        """
        arrays = self._arrays('aux_dict') if self._learned else {}
        return [(name, arrays[name]) for name in self._learned]

    def _names_of_learned_statistics(self):
        learning = [node['name'] for node in json.loads(self.graph.tojson())['nodes'] if node['op'] == 'BatchNorm'
                    and node.get('attrs', {}).get('use_global_stats', 'False') not in ('True', '1')]
        return [name for name in self._arrays('aux_dict')
                if name.startswith(tuple(layer + '_moving_' for layer in learning))]
