"""Random draws of the operators that run on the host.

Each image of a batch has a source of its own, seeded by the loader: what is drawn for an image does not depend on the
device or the worker that sees it, nor on the images beside it.
"""
import numpy as np

_sources = {}   # device, such as 'cpu(0)' -> the sources of the images in its present batch


def use(device, seeds):
    """From now on the operators on a device draw from sources with these seeds, one for each image.

    Args:
        device: a Context or its text.
        seeds: list of int; None: they draw from NumPy's global source.
    """
    if seeds is None:
        _sources.pop(str(device), None)
    else:
        _sources[str(device)] = [np.random.RandomState(seed) for seed in seeds]


def sources(device, images):
    """The source of draws for each of the images in the present batch of a device, a list."""
    return _sources.get(str(device)) or [np.random] * images
