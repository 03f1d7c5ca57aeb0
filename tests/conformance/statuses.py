"""What a test expects of a call that must not succeed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyiso.errors import NCryptError
from keyiso.status import Status, status_name


@contextmanager
def fails(status: Status) -> Iterator[pytest.ExceptionInfo[NCryptError]]:
    """The block raises exactly this status; names are compared, as people read them."""
    with pytest.raises(NCryptError) as caught:
        yield caught
    assert status_name(caught.value.status) == status_name(status), str(caught.value)
