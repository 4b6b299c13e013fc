"""Gradients go to the server while the backward pass still computes others."""
from tests.rfcn.launching import backward_step
from tests.rfcn.launching.backward_step import BACKWARD, FIXED, LAYERS, PUSH
from tests.rfcn.launching.conftest import by_environment


def test_gradients_leave_while_the_backward_pass_goes_on_and_only_of_trained_layers(tmp_path):
    by_environment(1, backward_step.__file__, tmp_path / 'trace.json')
    work = [name for name, _ in backward_step.work_of(tmp_path / 'trace.json')]
    # of each trained convolution its weight; of the fully connected layer weight and bias
    assert work.count(PUSH) == LAYERS - FIXED + 2
    parts = [number for number, name in enumerate(work) if BACKWARD in name]    # MXNet makes 15 operators one piece
    before_the_last = [work[:number].count(PUSH) for number in parts]
    assert len(parts) >= 4 and before_the_last[0] == 0
    assert before_the_last[-1] >= (LAYERS - FIXED) / 2      # most have left when the last piece begins
