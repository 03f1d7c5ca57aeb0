"""The router: registered providers, loaded function tables, handles.

Providers are registered as files ``providers.d/<name>.toml`` in the configuration directories
(``image = "package.module"``) and as entry points of the group ``keyiso.providers``. A provider
that was loaded is never unloaded, and nothing depends on that.
"""

import functools
import importlib
import os
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from keyiso import limits
from keyiso.client.report import report_provider_failure
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.function_table import KeyStorageFunctionTable, NCryptProviderName
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.paths import client_instance
from keyiso.status import Status

DEFAULT_PROVIDER: Final = MS_KEY_STORAGE_PROVIDER
ENTRY_POINT_GROUP: Final = "keyiso.providers"
ENTRY_FUNCTION: Final = "get_key_storage_interface"


@dataclass(frozen=True, slots=True)
class Registration:
    """Where a provider's code is."""

    name: str
    image: str
    """A module's name."""
    comment: str
    source: str
    """Who registered it: a file, an entry point or keyiso itself."""


_BUILT_IN: Final = (
    Registration(
        MS_KEY_STORAGE_PROVIDER,
        "keyiso.providers.software",
        "Keys in the isolated processes of the KeyIso service",
        "keyiso",
    ),
    Registration(
        MS_NGC_KEY_STORAGE_PROVIDER,
        "keyiso.providers.passport",
        "Keys in the caller's Passport container, which sign for a PIN",
        "keyiso",
    ),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a handle stands for: a provider's functions, its context, its object."""

    provider_name: str
    table: KeyStorageFunctionTable
    provider: Any
    object: Any
    """The key or the secret; None for a provider handle."""


class NCryptHandle:
    """What an application holds instead of a provider's object. Only NCrypt makes handles."""

    __slots__ = ("__weakref__", "_target")

    _target: Target | None
    """None once the handle was freed."""

    def __init__(self) -> None:
        raise TypeError("handles come from NCryptOpenStorageProvider, NCryptOpenKey and so on")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle is neither copied nor pickled: it would be freed twice")


class NCryptProvHandle(NCryptHandle):
    """NCRYPT_PROV_HANDLE."""

    __slots__ = ()


class NCryptKeyHandle(NCryptHandle):
    """NCRYPT_KEY_HANDLE."""

    __slots__ = ()


class NCryptSecretHandle(NCryptHandle):
    """NCRYPT_SECRET_HANDLE."""

    __slots__ = ()


H = TypeVar("H", bound=NCryptHandle)


def new_handle(kind: type[H], target: Target) -> H:
    """A handle that stands for something."""
    handle = object.__new__(kind)
    handle._target = target
    return handle


def target_of(handle: object, *kinds: type[NCryptHandle]) -> Target:
    """What a handle stands for.

    Raises ``NTE_INVALID_HANDLE`` for one that is freed, forged, or of another kind.
    """
    if not isinstance(handle, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ncrypt_error(
            Status.NTE_INVALID_HANDLE, f"a {type(handle).__name__} is not a {wanted}"
        )
    target: Target | None = getattr(handle, "_target", None)
    if target is None:
        raise ncrypt_error(
            Status.NTE_INVALID_HANDLE, "the handle was freed, or is not one that NCrypt gave out"
        )
    return target


def free_handle(handle: NCryptHandle) -> None:
    """The handle stands for nothing from now on."""
    handle._target = None


def is_open_key(handle: object) -> bool:
    """Whether this is the handle of a key that is open."""
    return isinstance(handle, NCryptKeyHandle) and getattr(handle, "_target", None) is not None


class Router:
    """Knows the registered providers and loads them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._tables: dict[str, KeyStorageFunctionTable] = {}
        self._loading = threading.Lock()

    # --- providers -----------------------------------------------------------------------------

    def registrations(self) -> tuple[Registration, ...]:
        """Every registered provider; of two with one name the configuration's counts, and an
        installed package cannot take the place of our own.
        """
        found = {entry.name: entry for entry in _entry_points()} | self._without_packages()
        return tuple(found[name] for name in sorted(found))

    def providers(self) -> tuple[NCryptProviderName, ...]:
        """NCryptEnumStorageProviders."""
        return tuple(
            NCryptProviderName(entry.name, entry.comment) for entry in self.registrations()
        )

    def open_provider(self, name: str | None, flags: int) -> NCryptProvHandle:
        """NCryptOpenStorageProvider. No name is the default provider."""
        name = DEFAULT_PROVIDER if name is None else name
        try:
            table = self._table(name)
            provider = table.open_provider(name, flags)
        except NCryptError as error:
            report_provider_failure(self._environ, name, error.status)
            raise
        return new_handle(NCryptProvHandle, Target(name, table, provider, None))

    def _table(self, name: str) -> KeyStorageFunctionTable:
        with self._loading:
            if name not in self._tables:
                self._tables[name] = _load(self._registration(name))
            return self._tables[name]

    def _registration(self, name: str) -> Registration:
        if not 0 < len(name) <= limits.PROVIDER_NAME_UNITS:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"a provider's name has 1 to {limits.PROVIDER_NAME_UNITS} characters",
            )
        if found := self._without_packages().get(name):
            return found
        for entry in _entry_points():
            if entry.name == name:
                return entry
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            f"no provider is registered as {name!r}",
            "See `keyiso provider list`; register one with a file in providers.d.",
        )

    def _without_packages(self) -> dict[str, Registration]:
        found = {entry.name: entry for entry in _BUILT_IN}
        for directory in reversed(client_instance(self._environ).config):
            found |= {entry.name: entry for entry in _files(directory / "providers.d")}
        return found


@functools.cache
def process_router() -> Router:
    """The router of this process. NCrypt's functions have no parameter for another one."""
    return Router(os.environ)


def _entry_points() -> tuple[Registration, ...]:
    # Reading what is installed takes longer than all else that opens a provider: only for who asks
    # for another one than our own.
    import importlib.metadata

    return tuple(
        Registration(
            point.name,
            point.value,
            "",
            f"entry point of {point.dist.name}" if point.dist else "entry point",
        )
        for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    )


def _files(directory: Path) -> tuple[Registration, ...]:
    """The registrations of one directory; none in one that this user may not read."""
    try:
        paths = sorted(directory.glob("*.toml"))
    except OSError:
        return ()
    return tuple(_from_file(path) for path in paths)


def _from_file(path: Path) -> Registration:
    """What a file registers. One that is damaged is its own provider's trouble only."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        image, comment = values["image"], values.get("comment", "")
    except (OSError, ValueError, KeyError, RecursionError):
        image = comment = ""
    if not isinstance(image, str) or not isinstance(comment, str) or not _is_module_name(image):
        image, comment = "", "damaged registration"
    return Registration(path.stem, image, comment, str(path))


def _is_module_name(image: str) -> bool:
    """Absolute, as there is no package that it could be relative to."""
    return bool(image) and not image.startswith(".")


def _load(registration: Registration) -> KeyStorageFunctionTable:
    if not registration.image:
        raise ncrypt_error(
            Status.NTE_PROV_TYPE_ENTRY_BAD,
            f"the provider registration {registration.source} cannot be read",
            'It is a TOML file with image = "package.module".',
        )
    try:
        module = importlib.import_module(registration.image)
    except ImportError as error:
        raise ncrypt_error(
            Status.NTE_PROV_DLL_NOT_FOUND,
            f"the image {registration.image!r} of the provider {registration.name!r}"
            f" cannot be imported: {error}",
            f"Install it for this Python, or remove its registration ({registration.source}).",
        ) from None
    except Exception as error:  # whatever goes wrong in foreign code
        raise _no_provider(registration, f"fails when it is imported ({_name(error)})") from error
    entry = getattr(module, ENTRY_FUNCTION, None)
    if not callable(entry):
        raise _no_provider(registration, f"has no function {ENTRY_FUNCTION}")
    try:
        table = entry(registration.name, 0)
    except NCryptError:
        raise
    except Exception as error:
        raise _no_provider(registration, f"fails when it is loaded ({_name(error)})") from error
    if not isinstance(table, KeyStorageFunctionTable):
        raise _no_provider(registration, f"returns no function table from {ENTRY_FUNCTION}")
    return table


def _no_provider(registration: Registration, why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_PROVIDER_DLL_FAIL,
        f"the image {registration.image!r} of the provider {registration.name!r} {why}",
        f"It is not a key storage provider; correct its registration ({registration.source}).",
    )


def _name(error: Exception) -> str:
    return type(error).__name__
