"""First values of the parameters that no checkpoint gives."""
import mxnet as mx

# He et al. 2015, for layers that a ReLU follows. Biases, gamma and beta take MXNet's own first values by the ends of
# their names.
_HE = mx.init.Xavier(rnd_type='gaussian', factor_type='in', magnitude=2)
# Heads: Gaussian of 0.01 (Faster R-CNN, section 3.1.3; the release's init_weight). Offsets of deformable layers start
# at zero, so that they begin as plain layers.
_ON_PRETRAINED = mx.init.Mixed(['.*_offset(_t)?_(weight|bias)', '(rpn_|rfcn_|rcnn_|conv_new_1).*_weight', '.*'],
                               [mx.init.Zero(), mx.init.Normal(0.01), _HE])
# On a narrow trunk 0.01 would make the heads' hidden layers nearly silent (0.125 is He's value for 128 channels, 0.03
# for the release's 2048), so without a pretrained trunk these start like the trunk itself.
_FROM_SCRATCH = mx.init.Mixed(['(rpn_conv_3x3|conv_new_1)_weight', '.*'], [_HE, _ON_PRETRAINED])


def init_params(symbol, input_shapes, arg_params=None, aux_params=None, seed=0):
    """All parameters of a graph: those given where name and shape fit, first values else.

    Args:
        input_shapes: name -> shape of every input, labels included.
        arg_params, aux_params: name -> NDArray, e.g. of a pretrained trunk; none at all: training from scratch.
        seed: of the first values.
    Returns:
        arg_params, aux_params (name -> NDArray, complete), and the names that got first values.
    """
    mx.random.seed(seed)
    initializer = _ON_PRETRAINED if arg_params else _FROM_SCRATCH
    arg_shapes, _, aux_shapes = symbol.infer_shape(**input_shapes)
    args = {name: shape for name, shape in zip(symbol.list_arguments(), arg_shapes) if name not in input_shapes}
    aux = dict(zip(symbol.list_auxiliary_states(), aux_shapes))
    arg_params, fresh_args = _complete(args, arg_params or {},
                                       lambda name, shape: _first_value(initializer, name, shape))
    aux_params, fresh_aux = _complete(aux, aux_params or {}, _first_statistic)
    return arg_params, aux_params, fresh_args + fresh_aux


def _complete(shapes, given, first_value):
    """The given arrays of the right shapes, first values for the rest; and the names of the rest."""
    fresh = [name for name, shape in shapes.items() if name not in given or given[name].shape != shape]
    values = {name: given[name].copy() for name in shapes if name not in fresh}
    values.update((name, first_value(name, shapes[name])) for name in fresh)
    return values, fresh


def _first_value(initializer, name, shape):
    value = mx.nd.zeros(shape)
    initializer(mx.init.InitDesc(name), value)
    return value


def _first_statistic(name, shape):
    return mx.nd.ones(shape) if name.endswith('_moving_var') else mx.nd.zeros(shape)
