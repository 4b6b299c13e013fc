"""What is said of errors that others raise."""
import mxnet as mx
import pytest

from lib.errors import gist


@pytest.mark.parametrize('error, text', [
    (ValueError('one line'), 'one line'), (ValueError('the first\nthe second'), 'the first'),
    (MemoryError(), 'MemoryError'), (OSError(28, 'No space left on device'), '[Errno 28] No space left on device')])
def test_the_gist_is_the_first_line_or_the_name_of_an_error_without_text(error, text):
    assert gist(error) == text


def test_the_gist_of_an_error_of_mxnet_is_what_failed():
    with pytest.raises(mx.base.MXNetError) as error:
        mx.sym.load_json('[]')
    assert gist(error.value).startswith("MXNetError: Check failed: ch == '{'")
