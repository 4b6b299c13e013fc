"""The arithmetic of R-FCN on plain arrays: boxes, anchors, targets, sampling, suppression, data sets.

It imports neither MXNet nor the configuration.
"""
