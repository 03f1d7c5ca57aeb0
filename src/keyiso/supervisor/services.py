"""What an instance runs: the KeyIso service, and workers of each level with their generators."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyiso.crypto.pin_rules import PinRules
from keyiso.paths import Instance
from keyiso.required_shields import RequiredShields
from keyiso.supervisor.layout import listen_at
from keyiso.supervisor.spawn import ServiceSpec, User

GENERATOR = "generator"
SPARE = "spare"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What whoever starts an instance decides."""

    workers: int
    """Processes that hold keys, of each level; there is one more that generates them."""
    vbs: bool = True
    """Serve keys of level ``vbs``."""
    vbs_once: bool = False
    """The TPM gives their machine roots out once in a boot: there are more of them than are needed,
    all of which are started at once."""
    vbs_at_start: bool = False
    """Start their workers with the instance, rather than when one is first asked for."""
    keyiso: User | None = None
    trustlet: User | None = None
    passport: User | None = None
    """Users of the services; None: whoever the supervisor is."""
    manager_uids: Sequence[int] = ()
    manager_gids: Sequence[int] = ()
    journal: Path
    pin_rules: PinRules = field(default_factory=PinRules)
    """Of new Passport containers."""
    required: RequiredShields = field(default_factory=RequiredShields)
    """Of keys that require ``vbs``."""
    shields: Sequence[str] = ()
    """What the supervisor holds up."""
    limits_set: Sequence[str] = ()
    """``NAME=NUMBER`` each."""


def service_specs(instance: Instance, settings: ServiceSettings) -> tuple[ServiceSpec, ...]:
    """All services of an instance, with their listening sockets."""
    software = _names("software", settings.workers)
    vbs = _names("vbs", settings.workers) if settings.vbs else ()
    if vbs and settings.vbs_once:
        vbs = (*vbs, f"vbs-{SPARE}", f"vbs-{SPARE}-{GENERATOR}")
    control = listen_at(instance.control_socket, mode=0o666 if instance.system else 0o600)
    served = listen_at(instance.served_socket, mode=0o600, user=settings.passport)
    service = ServiceSpec(
        "keyiso",
        "keyiso.keyiso_service",
        (
            f"--store={instance.store}",
            f"--ephemerals={instance.ephemerals}",
            f"--events={instance.events}",
            f"--journal={settings.journal}",
            *(f"--worker={instance.workers / name}.sock" for name in software),
            *(f"--vbs-worker={instance.workers / name}.sock" for name in vbs),
            *(("--vbs-at-start",) if settings.vbs_at_start else ()),
            *(("--system",) if instance.system else ()),
            *(f"--manager-uid={uid}" for uid in settings.manager_uids),
            *(f"--manager-gid={gid}" for gid in settings.manager_gids),
            f"--service-uid={_uid(settings.passport)}",
            f"--passport-socket={instance.passport_socket}",
            *_lowered(settings),
        ),
        {"control": control.detach(), "served": served.detach()},
        settings.keyiso,
        instance.notify_socket,
    )
    return (
        service,
        *(_software_worker(instance, settings, name) for name in software),
        *(_pair(instance, settings, name) for name in vbs),
        *_passport(instance, settings),
    )


def _passport(instance: Instance, settings: ServiceSettings) -> Iterable[ServiceSpec]:
    """Passport's two services: applications ask the first, that the second, and that KeyIso."""
    for name, module, place, upstream in (
        ("passport", "service", instance.passport_socket, instance.container_socket),
        (
            "passport-container",
            "container_service",
            instance.container_socket,
            instance.served_socket,
        ),
    ):
        is_first = place == instance.passport_socket
        mode = 0o666 if is_first and instance.system else 0o600
        listening = listen_at(place, mode=mode, user=settings.passport)
        yield ServiceSpec(
            name,
            f"keyiso.passport.{module}",
            (
                f"--service={name}",
                f"--upstream={upstream}",
                f"--passport-socket={instance.passport_socket}",
                *(("--system",) if instance.system else ()),
                *_lowered(settings),
            ),
            {"clients": listening.detach()},
            settings.passport,
            instance.notify_socket,
            on_demand=not instance.system,  # somebody who logs on need not wait for their start
        )


def _names(level: str, workers: int) -> tuple[str, ...]:
    return tuple(f"{level}-{role}" for role in (*range(workers), GENERATOR))


def _software_worker(instance: Instance, settings: ServiceSettings, name: str) -> ServiceSpec:
    arguments = (
        *_of_every_worker(settings, name),
        f"--machine-root={instance.software_machine_root}",
        f"--boot-roots={instance.software_boot_roots}",
    )
    serves_passport = name.endswith(GENERATOR)
    if serves_passport:
        arguments = (
            *arguments,
            f"--containers={instance.containers}",
            f"--pin-rules={settings.pin_rules.as_argument()}",
            f"--enrolment={instance.vbs_enrolment}",
        )
    return ServiceSpec(
        name,
        "keyiso.trustlet",
        arguments,
        {"link": _link(instance, settings, name)},
        settings.trustlet,
        instance.notify_socket,
        uses_tpm=serves_passport,
    )


def _pair(instance: Instance, settings: ServiceSettings, name: str) -> ServiceSpec:
    sharing = listen_at(instance.sharing_socket(name), mode=0o600, user=settings.trustlet)
    return ServiceSpec(
        name,
        "keyiso.trustlet.pair",
        (
            *_of_every_worker(settings, name),
            f"--enrolment={instance.vbs_enrolment}",
            f"--kept-boot-root={instance.vbs_boot_root}",
            *_required(settings),
        ),
        {"link": _link(instance, settings, name), "roots": sharing.detach()},
        settings.trustlet,
        instance.notify_socket,
        on_demand=not (settings.vbs_at_start or settings.vbs_once),
        is_pair=True,
        uses_tpm=True,
    )


def _required(settings: ServiceSettings) -> Iterable[str]:
    yield from (f"--shield={shield}" for shield in settings.shields)
    yield from (f"--require={shield}={file}" for shield, file in settings.required.files.items())


def _of_every_worker(settings: ServiceSettings, name: str) -> Iterable[str]:
    return (f"--service={name}", f"--keyiso-uid={_uid(settings.keyiso)}", *_lowered(settings))


def _uid(user: User | None) -> int:
    return os.geteuid() if user is None else user.uid


def _link(instance: Instance, settings: ServiceSettings, name: str) -> int:
    """Where the KeyIso service reaches a worker."""
    path = instance.workers / f"{name}.sock"
    return listen_at(path, mode=0o600, user=settings.keyiso).detach()


def _lowered(settings: ServiceSettings) -> tuple[str, ...]:
    return tuple(f"--limit={setting}" for setting in settings.limits_set)
