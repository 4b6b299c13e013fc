"""The networks, by the name that `symbol` in a configuration gives them."""
from lib.errors import ConfigError
from rfcn.symbols.baselines import ClassRPN, FasterRCNN, NaiveRCNN
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1, small_architecture
from rfcn.symbols.rfcn import RFCN


def _resnet(depth):
    def trunk(cfg, deformable=False):
        return ResNetV1(RESNET_V1[depth], cfg.network.CONV5, deformable, cfg.network.STRIDE_IN_3X3, cfg.network.POOL1)
    return trunk


def _small(cfg, deformable=False):
    architecture = small_architecture(cfg.network.SMALL_CHANNELS, cfg.network.SMALL_BLOCKS)
    return ResNetV1(architecture, cfg.network.CONV5, deformable)


# What stands after the trunk's name; each makes a network from the configuration and a function that makes the trunk.
DETECTORS = {
    'rfcn': lambda cfg, trunk: RFCN(cfg, trunk(cfg)),
    'rfcn_dcn': lambda cfg, trunk: RFCN(cfg, trunk(cfg, deformable=True), deformable=True),
    'naive_rcnn': lambda cfg, trunk: NaiveRCNN(cfg, trunk(cfg)),
    'faster_rcnn': lambda cfg, trunk: FasterRCNN(cfg, trunk(cfg)),
    'class_rpn': lambda cfg, trunk: ClassRPN(cfg, trunk(cfg)),
}
TRUNKS = dict({'small': _small}, **{'resnet_v1_%d' % depth: _resnet(depth) for depth in RESNET_V1})
_OFFSETS = ('it draws where deformable layers look. Train resnet_v1_101_rfcn_dcn; docs/rows.md, "Names of the release",'
            ' says what to type')
# Networks of the release that there is no counterpart of, and what to do instead.
NOT_HERE = {'deform_conv_demo': _OFFSETS, 'deform_psroi_demo': _OFFSETS,
            'rfcn_demo': 'write resnet_v1_101_rfcn or resnet_v1_101_rfcn_dcn; rfcn demo --image FILE draws'}


def symbols():
    """Name -> detector and trunk of every network. A script may add to DETECTORS and TRUNKS what it brings along."""
    return {'%s_%s' % (trunk, detector): (DETECTORS[detector], TRUNKS[trunk])
            for trunk in TRUNKS for detector in DETECTORS}


def make_symbol(cfg):
    """The network that `cfg.symbol` names: an object with get_symbol, get_symbol_rpn and get_symbol_rfcn.

    Raises:
        ConfigError: no network of that name.
    """
    if cfg.symbol in NOT_HERE:
        raise ConfigError('symbol: %s of the release is not here: %s' % (cfg.symbol, NOT_HERE[cfg.symbol]))
    known = symbols()
    if cfg.symbol not in known:
        fault = 'no network is called %r' % cfg.symbol if cfg.symbol else 'the configuration names no network'
        raise ConfigError('symbol: %s. Write a trunk (%s) and a detector (%s), as in resnet_v1_50_rfcn'
                          % (fault, ', '.join(TRUNKS), ', '.join(DETECTORS)))
    detector, trunk = known[cfg.symbol]
    return detector(cfg, trunk)
