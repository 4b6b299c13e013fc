"""A bound for MXNet's memory. Imported before MXNet, which reads the environment when it first needs the number.

MXNet 1.9.1 keeps what oneDNN prepares for each layer and each size of its input, and never forgets one: training on
images of changing size grew from 500 to 780 MB in 2,000 steps of the demo's small network, and would have gone on
(experiments/memory.py).
"""
import os

PREPARED = 512      # of each kind of layer; a ResNet-101 has some 30 different convolutions

os.environ.setdefault('MXNET_MKLDNN_CACHE_NUM', str(PREPARED))
