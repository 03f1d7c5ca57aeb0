"""Telling the event log what happens in the application's own process, where there is none.

Nothing is started for it and nothing is tried again: where no KeyIso service answers at once,
nobody hears of it.
"""

import contextlib
import os
from collections.abc import Mapping

from keyiso import limits
from keyiso.client.binding import trusted_uids
from keyiso.client.connection import Connection, connect
from keyiso.client.request import process_name
from keyiso.errors import Hop
from keyiso.paths import client_instance
from keyiso.wire.control import Bind, ReportProviderFailure


def report_provider_failure(environ: Mapping[str, str], provider: str, status: int) -> None:
    """Tell the KeyIso service that this process could not open a provider.

    Takes at most a few times ``REPORT_SECONDS``, and raises nothing: the caller has an error of
    his own to hear of.
    """
    with contextlib.suppress(Exception):
        name = provider.encode("utf-8", "backslashreplace").decode()
        operation = ReportProviderFailure(name[: limits.PROVIDER_NAME_UNITS], status)
        _report(environ, operation)


def _report(environ: Mapping[str, str], operation: ReportProviderFailure) -> None:
    path = client_instance(environ).control_socket
    connected = connect(path, trusted_uids(), limits.REPORT_SECONDS)
    connection = Connection(connected, "keyiso", frame_bytes=limits.CONTROL_FRAME_BYTES)
    try:
        connection.greet(limits.REPORT_SECONDS)
        connection.call(
            operation,
            trace="",
            hops=(Hop("application", os.getpid(), "NCryptOpenStorageProvider"),),
            timeout=limits.REPORT_SECONDS,
            before=(Bind(os.urandom(limits.CLIENT_GROUP_BYTES), process_name()),),
        )
    finally:
        connection.close()
