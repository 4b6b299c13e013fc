"""How many pixels of the image a cell of each feature map covers, and that the configuration says so too."""
from lib.errors import ConfigError

CONV4_STRIDE = 16
CONV5_STRIDE = {'atrous': 16, 'stride32': 32, 'none': CONV4_STRIDE}  # by network.CONV5


def conv5_stride(cfg):
    """Pixels a cell of what the trunk gives as conv5."""
    return CONV5_STRIDE[cfg.network.CONV5]


def check_strides(cfg, rpn, rcnn=None):
    """Compare the strides of the configuration with those of the network.

    Args:
        rpn: pixels a cell of the map that the RPN sits on.
        rcnn: of the map that RoIs are pooled from; None if there is none.
    Raises:
        ConfigError: they differ; boxes would lie in another place than their features.
    """
    for key, stride in (('RPN_FEAT_STRIDE', rpn), ('RCNN_FEAT_STRIDE', rcnn)):
        if stride is not None and cfg.network[key] != stride:
            raise ConfigError('network.%s is %d, but %s with network.CONV5 %s has %d pixels a cell there: write %s: %d'
                              % (key, cfg.network[key], cfg.symbol, cfg.network.CONV5, stride, key, stride))
