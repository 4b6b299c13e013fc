"""Reads ImageNet classifiers of other projects and turns their trunks into parameters of `rfcn/symbols/resnet_v1.py`.

torch_file.py reads PyTorch's files, sources.py Caffe's, and says which file means what; trunk.py finds the layers of a
ResNet among the parameters and does the arithmetic. In between are NumPy arrays.
"""
