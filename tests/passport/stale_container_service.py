"""A Passport container service with the defect that started this project: what it has bound to the
KeyIso service it keeps for its life, and uses for whoever comes, after that service has restarted
too.
"""

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


class StaleUpstream(Upstream):
    """Binds once. It connects again, and believes that it is still known there."""

    _has_bound = False

    def _bind(self, link: Link) -> None:
        if not self._has_bound:
            self._has_bound = True
            super()._bind(link)


class StaleContainerService(ContainerService):
    """Of one user: there is one context."""

    _cached: Upstream | None = None

    def _bind_for(self, connection: Connection, call: Call[BindFor]) -> Done:
        done = super()._bind_for(connection, call)
        self._cached = connection.state = self._cached or connection.state
        return done


def main(arguments: list[str]) -> int:
    container_service.Upstream = StaleUpstream  # type: ignore[attr-defined]
    container_service.hang_up = lambda connection: None  # type: ignore[attr-defined]

    def listen(process: ServiceProcess) -> Any:
        return StaleContainerService(process).listen

    return start_service(arguments, listen)
