"""Parameters that anyone can make again from a name, a shape and a number: no file of weights comes with a vector.

Each has a stream of its own: standard normal numbers in double precision from a RandomState (the Mersenne Twister with
its old, polar normal generator) whose seed is the CRC-32 of the name, exclusive-or the salt. What becomes of them
depends on the end of the name; the result is rounded to float32.
"""
import zlib

import numpy as np

# Of weights, in units of sqrt(2 / inputs of an output); all others have 1.
_GAINS = {'rpn_cls_score': 0.3, 'rpn_bbox_pred': 0.07, 'rfcn_bbox': 0.3, 'rfcn_cls': 1.5,
          'rfcn_cls_offset_t': 3.0, 'rfcn_bbox_offset_t': 3.0}
_GAINS.update(('res5%s_branch2b_offset' % unit, 0.3) for unit in 'abc')


def _weight(name, normal):
    inputs = float(np.prod(normal.shape[1:]))
    return normal * np.sqrt(2.0 / inputs) * _GAINS.get(name[:-len('_weight')], 1.0)


def _gamma(name, normal):
    # The last of a residual unit is small, or the sums of 33 units would grow without bound.
    return (1.0 + 0.2 * normal) * (0.2 if 'branch2c' in name else 1.0)


_RULES = {
    '_weight': _weight,
    '_bias': lambda name, normal: 0.05 * normal,
    '_gamma': _gamma,
    '_beta': lambda name, normal: 0.1 * normal,
    '_moving_mean': lambda name, normal: normal * (10.0 if name == 'bn_conv1_moving_mean' else 0.1),
    '_moving_var': lambda name, normal: np.exp(0.2 * normal) * (1e4 if name == 'bn_conv1_moving_var' else 1.0),
}


def make_parameter(name, shape, salt):
    """The parameter of that name and shape, float32.

    Raises:
        ValueError: no rule is known for the end of the name.
    """
    rules = [rule for ending, rule in _RULES.items() if name.endswith(ending)]
    if not rules:
        raise ValueError('no rule for the parameter %s: its name ends with none of %s' % (name, ', '.join(_RULES)))
    seed = (zlib.crc32(name.encode('ascii')) ^ salt) & 0xffffffff
    return rules[0](name, np.random.RandomState(seed).standard_normal(shape)).astype(np.float32)
