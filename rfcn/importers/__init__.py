"""Reads networks of other projects: trunks of ImageNet classifiers, as parameters of `rfcn/symbols/resnet_v1.py`, and
complete R-FCNs of the authors.

torch_file.py reads PyTorch's files, sources.py Caffe's, and says which file means what; trunk.py finds the layers of a
ResNet among the parameters and does the arithmetic; detector.py does so for a complete R-FCN, and says which
configuration it needs. In between are NumPy arrays.
"""
