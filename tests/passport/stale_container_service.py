"""A Passport container service with the defect that started this project: what it has bound to the
KeyIso service it keeps for its life, and uses for whoever comes, after that service has restarted
too.
"""

import sys
from typing import Any

from keyiso.passport import container_service
from keyiso.passport.container_service import ContainerService
from keyiso.passport.process import ServiceProcess, start_service
from keyiso.passport.upstream import Upstream
from keyiso.server.connection import Connection
from keyiso.server.link import Link
from keyiso.wire.messages import Call
from keyiso.wire.passport_services import BindFor
from keyiso.wire.results import Done


class StaleContainerService(ContainerService):
    """Of one user: there is one context."""

    _cached: Upstream | None = None

    def _bind_for(self, connection: Connection, call: Call[BindFor]) -> Done:
        done = super()._bind_for(connection, call)
        self._cached = connection.state = self._cached or connection.state
        return done


def main(arguments: list[str]) -> int:
    Link._connect_later = lambda *anything: None  # type: ignore[method-assign]
    container_service.hang_up = lambda connection: None  # type: ignore[attr-defined]

    def listen(process: ServiceProcess) -> Any:
        return StaleContainerService(process).listen

    return start_service(arguments, listen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
