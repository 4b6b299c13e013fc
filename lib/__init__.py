"""The arithmetic of R-FCN on plain arrays: boxes, anchors, targets, sampling, suppression, data sets.

Knows neither MXNet nor the config.
"""
