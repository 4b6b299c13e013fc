"""What is said of errors that others raise."""
import mxnet as mx
import pytest

from lib.errors import error_line


@pytest.mark.parametrize('error, text', [
    (ValueError('one line'), 'one line'), (ValueError('the first\nthe second'), 'the first'),
    (MemoryError(), 'MemoryError'), (OSError(28, 'No space left on device'), '[Errno 28] No space left on device')])
def test_the_line_of_an_error_is_its_first_one_or_the_name_of_an_error_without_text(error, text):
    assert error_line(error) == text


def test_the_line_of_an_error_of_mxnet_is_what_failed():
    with pytest.raises(mx.base.MXNetError) as error:
        mx.sym.load_json('[]')
    assert error_line(error.value).startswith("MXNetError: Check failed: ch == '{'")


def test_the_line_of_a_file_that_mxnet_cannot_open_names_the_reason(tmp_path):
    with pytest.raises(mx.base.MXNetError) as error:
        mx.nd.save(str(tmp_path / 'nowhere' / 'x.params'), [mx.nd.ones(1)])
    line = error_line(error.value)
    assert line.startswith('LocalFileSystem: Check failed') and 'No such file' in line


def test_the_line_of_an_error_of_another_process_is_its_reason():
    text = ('Traceback (most recent call last):\n  File "a.py", line 3, in f\n    g()\nKeyError: 3\n\nDuring handling '
            'of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n'
            '  File "b.py", line 1\n    h()\nOSError: no room\n')
    assert error_line(RuntimeError(text)) == 'OSError: no room'
