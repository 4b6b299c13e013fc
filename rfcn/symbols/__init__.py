"""The networks, by the name that `symbol` in a configuration gives them."""
from lib.errors import ConfigError
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1, small_architecture
from rfcn.symbols.rfcn import RFCN


def _resnet(depth, deformable):
    def build(cfg):
        trunk = ResNetV1(RESNET_V1[depth], cfg.network.CONV5, deformable, cfg.network.STRIDE_IN_3X3, cfg.network.POOL1)
        return RFCN(cfg, trunk, deformable)
    return build


def _small(deformable):
    def build(cfg):
        architecture = small_architecture(cfg.network.SMALL_CHANNELS, cfg.network.SMALL_BLOCKS)
        return RFCN(cfg, ResNetV1(architecture, cfg.network.CONV5, deformable), deformable)
    return build


SYMBOLS = {'small_rfcn': _small(deformable=False), 'small_rfcn_dcn': _small(deformable=True)}
for _depth in RESNET_V1:
    SYMBOLS['resnet_v1_%d_rfcn' % _depth] = _resnet(_depth, deformable=False)
    SYMBOLS['resnet_v1_%d_rfcn_dcn' % _depth] = _resnet(_depth, deformable=True)


def make_symbol(cfg):
    """The network that `cfg.symbol` names: an object with get_symbol, get_symbol_rpn and get_symbol_rfcn.

    Raises:
        ConfigError: no network of that name.
    """
    if cfg.symbol not in SYMBOLS:
        raise ConfigError('symbol: no network is called %r; there are %s' % (cfg.symbol, ', '.join(sorted(SYMBOLS))))
    return SYMBOLS[cfg.symbol](cfg)
