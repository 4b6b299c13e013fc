"""Writes a trained detector for other programs: as plain MXNet (plain.py) or as ONNX.

    plain.py        graph and parameters of MXNet's own operators, which MXNet loads without this project
    onnx_graph.py   an ONNX graph in the making: nodes, constants, names; what it becomes a file with
    onnx_layers.py  the table of MXNet's operators and the nodes that do the same, RoI pooling among them
    onnx_rpn.py     proposals: anchors, decoding, TopK, non-maximum suppression
    onnx_file.py    the file: the network's outputs, or the boxes, scores and classes that they mean
    onnx_check.py   runs the file beside MXNet and compares
"""
