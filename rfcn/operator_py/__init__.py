"""Operators that MXNet calls back in Python: their names and shapes are in this folder, what they compute is in lib.

Random draws: each image of a batch has a source of its own, seeded by the loader. So what is drawn for an image does
not depend on the device or the worker that gets it, nor on the images beside it.
"""
import atexit
import logging

import mxnet as mx
import numpy as np

from lib.errors import error_line

_sources = {}   # device, such as 'cpu(0)' -> the sources of the images in its present batch


@atexit.register
def _finish():
    """Wait for what has begun, as after an error during a batch: operators in Python never end while MXNet shuts down.

    MXNet registered its own shutdown earlier, so it comes after this.
    """
    try:
        mx.nd.waitall()
    except mx.base.MXNetError as error:     # of an operator whose result nobody waits for
        logging.getLogger(__name__).error('%s', error_line(error))


class HostProperty(mx.operator.CustomOpProp):
    """Base of the operators' names and shapes: their backward pass, if there is one, needs no array."""

    def declare_backward_dependency(self, out_grad, in_data, out_data):
        return []   # MXNet takes the latest answer for all operators: another one breaks a training that validates


class NoGradient(mx.operator.CustomOp):
    """Base of the operators in training graphs: what they give is taken as constant."""

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        for gradient, request in zip(in_grad, req):
            self.assign(gradient, request, 0)


def use_seeds(device, seeds):
    """From now on the operators on a device draw from sources with these seeds, one for each image.

    Args:
        device: a Context or its text.
        seeds: list of int; None: they draw from NumPy's global source.
    """
    if seeds is None:
        _sources.pop(str(device), None)
    else:
        _sources[str(device)] = [np.random.RandomState(seed) for seed in seeds]


def random_sources(device, images):
    """The source of draws for each of the images in the present batch of a device, a list."""
    return _sources.get(str(device)) or [np.random] * images
