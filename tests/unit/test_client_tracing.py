"""Who tells of what it does, and who does not."""

import pytest

from keyiso.client import tracing
from keyiso.client.autostart import _environment
from keyiso.client.binding import bind_process
from keyiso.client.request import Request
from keyiso.client.tracing import TRACE_VARIABLE, request_maker


@pytest.mark.parametrize("environ", [{}, {TRACE_VARIABLE: ""}], ids=["unset", "empty"])
def test_who_is_not_asked_has_requests_that_tell_nothing(environ: dict[str, str]) -> None:
    assert request_maker(environ) is Request
    assert bind_process(environ)._request is Request


def test_who_runs_with_more_rights_tells_nothing_to_his_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = {TRACE_VARIABLE: "/run/socket"}
    assert request_maker(environ) is not Request
    monkeypatch.setattr(tracing, "runs_with_more_rights", lambda: True)
    assert request_maker(environ) is Request


def test_a_service_that_is_started_is_not_told_where_to_write() -> None:
    """What starts by itself has an environment of its own."""
    assert TRACE_VARIABLE not in _environment({TRACE_VARIABLE: "/run/socket", "HOME": "/"})
