"""Operators that MXNet calls back in Python: what they do to a batch is in lib, their shapes and names are here."""
import atexit
import logging

import mxnet as mx

from lib.errors import error_line


@atexit.register
def _finish():
    """Wait for what was begun, as after an error amid a batch: while MXNet shuts down, operators in Python never end.

    MXNet has registered its own shutdown before, which thus comes after this.
    """
    try:
        mx.nd.waitall()
    except mx.base.MXNetError as error:     # of an operator, which nobody asked for any more
        logging.getLogger(__name__).error('%s', error_line(error))
