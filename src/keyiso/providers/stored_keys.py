"""The keys that the KeyIso service stores for a provider: found, enumerated and deleted."""

from dataclasses import dataclass
from typing import Any

from keyiso.client.binding import Binding
from keyiso.client.reference import KeyLocation
from keyiso.crypto.key_header import Scope
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import AT_KEYEXCHANGE, AT_SIGNATURE, NCRYPT_MACHINE_KEY_FLAG
from keyiso.function_table import NCryptKeyName
from keyiso.names import decode_name
from keyiso.status import Status
from keyiso.wire.control import DeleteKey, EnumKeys, FindKey, KeyName


@dataclass(frozen=True, slots=True)
class _Enumeration:
    """Where an enumeration stands: a page of names, and what is left of it."""

    keys: tuple[KeyName, ...]
    last: bytes
    flags: int


class StoredKeys:
    """The keys of one provider, over one binding of this process."""

    def __init__(self, binding: Binding, provider: str) -> None:
        self._binding = binding
        self._provider = provider

    def location(self, name: bytes, flags: int) -> KeyLocation:
        """Where a key of this name is; the flags say in which scope."""
        return KeyLocation(self._provider, scope_of(flags), name)

    def enumerate(self, scope: None, state: Any, flags: int) -> tuple[NCryptKeyName, Any]:
        """The next key, and the state for the call after.

        Raises ``NTE_NO_MORE_ITEMS`` at the end, and ``NTE_INVALID_PARAMETER`` for a scope and for
        a state of another enumeration.
        """
        if scope is not None:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "the scope must be None")
        if state is None:
            state = self._page(_Enumeration((), b"", flags))
        elif not isinstance(state, _Enumeration) or state.flags != flags:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "not a state of this enumeration")
        while not state.keys:
            if not state.last:
                raise ncrypt_error(Status.NTE_NO_MORE_ITEMS)
            state = self._page(state)
        first = state.keys[0]
        found = NCryptKeyName(
            decode_name(first.name), first.algorithm, 0, flags & NCRYPT_MACHINE_KEY_FLAG
        )
        return found, _Enumeration(state.keys[1:], state.last, flags)

    def _page(self, state: _Enumeration) -> _Enumeration:
        page = self._binding.control(EnumKeys(self._provider, scope_of(state.flags), state.last))
        return _Enumeration(page.keys, page.last, state.flags)

    def delete(self, location: KeyLocation, key_id: bytes) -> None:
        """Delete this very key. Raises ``NTE_BAD_KEYSET`` when it is gone or another by now."""
        self._binding.control(
            DeleteKey(
                self._binding.operation_id(),
                location.provider,
                location.scope,
                location.name,
                key_id,
            )
        )

    def refuse_existing(self, location: KeyLocation) -> None:
        """Tell early that a name is taken. What counts is decided when the key is finalized."""
        try:
            self._binding.control(FindKey(location.provider, location.scope, location.name))
        except NCryptError as error:
            if error.status != Status.NTE_BAD_KEYSET:
                raise
        else:
            raise ncrypt_error(
                Status.NTE_EXISTS,
                "a key of this name exists",
                "Choose another name, or overwrite it with NCRYPT_OVERWRITE_KEY_FLAG.",
            )


def scope_of(flags: int) -> Scope:
    """The scope that the flags of a call mean."""
    return "machine" if flags & NCRYPT_MACHINE_KEY_FLAG else "user"


def check_key_spec(key_spec: int) -> None:
    """Raise ``NTE_INVALID_PARAMETER`` for what is no legacy key specification."""
    if key_spec not in (0, AT_KEYEXCHANGE, AT_SIGNATURE):
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"{key_spec} is not a legacy key specification"
        )
