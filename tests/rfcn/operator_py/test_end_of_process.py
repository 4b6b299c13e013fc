"""A process that ends while an operator in Python is at work."""
import subprocess
import sys

from tests.conftest import ROOT

CODE = '''
import rfcn.operator_py
import mxnet as mx

class Sum(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] + in_data[0].asnumpy().sum())

@mx.operator.register('sum_of_all')
class SumProp(mx.operator.CustomOpProp):
    def create_operator(self, context, shapes, dtypes):
        return Sum()

twice = 2 * mx.nd.Custom(mx.nd.ones(3), op_type='sum_of_all')
raise SystemExit(7)
'''


def test_a_process_ends_though_an_operator_in_python_is_still_at_work():
    # MXNet alone waits for ever.
    assert subprocess.run([sys.executable, '-c', CODE], cwd=str(ROOT), timeout=60).returncode == 7
