"""Position-sensitive RoI pooling for detection on the CPU, by `lib/psroi/cpu_psroi.pyx`.

Equal to MXNet's `contrib.PSROIPooling` to the last bit, and faster (docs/cpu.md). It has no gradient: training, and
detection on a GPU, keep MXNet's operator.
"""
import json

import mxnet as mx

from lib.psroi.psroi_pooling import psroi_pool_compiled
from rfcn.operator_py import HostProperty

NATIVE = '_contrib_PSROIPooling'
SETTINGS = ('spatial_scale', 'output_dim', 'pooled_size')


def with_compiled_pooling(symbol):
    """A test graph whose `contrib.PSROIPooling` nodes are the operator 'psroi_pooling', of the same names and numbers.

    The graph stays as it is where the compiled module is absent.
    """
    if psroi_pool_compiled is None:
        return symbol
    graph = json.loads(symbol.tojson(remove_amp_cast=False))    # which MXNet leaves out unless told not to
    for node in graph['nodes']:
        if node['op'] == NATIVE:
            node['op'] = 'Custom'
            node['attrs'] = dict({name: node['attrs'][name] for name in SETTINGS}, op_type='psroi_pooling')
    return mx.sym.load_json(json.dumps(graph))


class PSROIPoolingOperator(mx.operator.CustomOp):
    """Copies to the host, pools, copies back."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def forward(self, is_train, req, in_data, out_data, aux):
        maps, rois = (x.asnumpy() for x in in_data)
        self.assign(out_data[0], req[0], mx.nd.array(psroi_pool_compiled(maps, rois, **self.settings)))


@mx.operator.register('psroi_pooling')
class PSROIPoolingProperty(HostProperty):
    """Names and shapes of the operator 'psroi_pooling': maps (B, D*k*k, H, W), rois (R, 5) -> (R, D, k, k)."""

    def __init__(self, spatial_scale, output_dim, pooled_size):
        super().__init__()
        self.settings = dict(spatial_scale=float(spatial_scale), output_dim=int(output_dim),
                             pooled_size=int(pooled_size))

    def list_arguments(self):
        return ['data', 'rois']

    def infer_shape(self, in_shape):
        maps, rois = in_shape
        dim, bins = self.settings['output_dim'], self.settings['pooled_size']
        return [maps, rois], [[rois[0], dim, bins, bins]], []

    def create_operator(self, ctx, shapes, dtypes):
        return PSROIPoolingOperator(self.settings)
