"""NCryptNotifyChangeKey with real processes, and NCryptTranslateHandle."""

import os
import select
from pathlib import Path

import pytest

from keyiso import Key, Provider, ncrypt
from keyiso.flags import (
    CRYPT_MACHINE_KEYSET,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_PERSIST_FLAG,
    NCRYPT_REGISTER_NOTIFY_FLAG,
    NCRYPT_UNREGISTER_NOTIFY_FLAG,
)
from keyiso.identifiers import NCRYPT_PROVIDER_HANDLE_PROPERTY
from keyiso.status import Status
from tests.conformance.cases import ECDSA_P256, make
from tests.conformance.statuses import fails
from tests.instance import DEADLINE_SECONDS, RunningInstance

pytestmark = pytest.mark.both_levels

NOT_AT_ALL = 0.2
"""Seconds that are given to a signal that must not come; more would find no more."""


def test_every_change_signals_the_event(provider: ncrypt.NCryptProvHandle, name: str) -> None:
    event = ncrypt.NCryptNotifyChangeKey(provider)
    try:
        assert not event.wait(0)

        key = make(provider, ECDSA_P256, name)
        assert event.wait(DEADLINE_SECONDS)

        ncrypt.NCryptSetProperty(key, "Note", b"value", NCRYPT_PERSIST_FLAG)
        assert event.wait(DEADLINE_SECONDS)

        ncrypt.NCryptDeleteKey(key)
        readable, _, _ = select.select([event], [], [], DEADLINE_SECONDS)
        assert readable
        assert ncrypt.NCryptNotifyChangeKey(provider, event) is event  # resets it
        assert not event.wait(0)
    finally:
        event.close()


def test_using_a_key_changes_nothing(provider: ncrypt.NCryptProvHandle, name: str) -> None:
    key = make(provider, ECDSA_P256, name)
    with ncrypt.NCryptNotifyChangeKey(provider) as event:
        ECDSA_P256.sign(key)
        ncrypt.NCryptOpenKey(provider, name)
        make(provider, ECDSA_P256)  # an ephemeral key is nobody else's business

        assert not event.wait(NOT_AT_ALL)


def test_the_scopes_are_told_apart(provider: ncrypt.NCryptProvHandle, name: str) -> None:
    flags = NCRYPT_REGISTER_NOTIFY_FLAG | NCRYPT_MACHINE_KEY_FLAG
    with (
        ncrypt.NCryptNotifyChangeKey(provider) as of_user,
        ncrypt.NCryptNotifyChangeKey(provider, None, flags) as of_machine,
    ):
        make(provider, ECDSA_P256, name, NCRYPT_MACHINE_KEY_FLAG)

        assert of_machine.wait(DEADLINE_SECONDS)
        assert not of_user.wait(NOT_AT_ALL)


def test_an_event_is_unregistered_once(provider: ncrypt.NCryptProvHandle) -> None:
    event = ncrypt.NCryptNotifyChangeKey(provider)

    assert ncrypt.NCryptNotifyChangeKey(provider, event, NCRYPT_UNREGISTER_NOTIFY_FLAG) is None

    with fails(Status.NTE_INVALID_HANDLE):
        event.wait(0)
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptNotifyChangeKey(provider, None, NCRYPT_UNREGISTER_NOTIFY_FLAG)
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptNotifyChangeKey(provider, "event", NCRYPT_UNREGISTER_NOTIFY_FLAG)


@pytest.mark.parametrize("flags", [0, 0x20, 3, 0x22, 0x41])
def test_flags_that_say_neither_the_one_nor_the_other(
    provider: ncrypt.NCryptProvHandle, flags: int
) -> None:
    event = ncrypt.NCryptNotifyChangeKey(provider)
    with event, fails(Status.NTE_BAD_FLAGS):
        ncrypt.NCryptNotifyChangeKey(provider, event, flags)


@pytest.mark.software_only  # with the supervisor the pairs die, and their root
def test_a_change_is_told_across_restarts(instance: RunningInstance) -> None:
    with Provider() as provider, provider.watch() as event:
        instance.kill("keyiso")
        Key.create("made after the restart", "ECDSA_P256").close()
        assert event.wait(DEADLINE_SECONDS)

        instance.kill("supervisor")
        instance.start()
        Key.open("made after the restart").delete()
        assert event.wait(DEADLINE_SECONDS)


def test_a_forked_child_waits_for_itself(instance: RunningInstance) -> None:
    with Provider() as provider, provider.watch() as event:
        ready, tell = os.pipe()
        child = os.fork()
        if not child:
            event.wait(0)
            os.write(tell, b"x")
            os._exit(0 if event.wait(DEADLINE_SECONDS) else 1)
        assert os.read(ready, 1) == b"x"
        Key.create("made by the parent", "ECDSA_P256").close()

        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert event.wait(DEADLINE_SECONDS)
        for end in (ready, tell):
            os.close(end)


# --- CryptoAPI ---------------------------------------------------------------------------------

CSP = "Example Cryptographic Provider v1.0"


@pytest.fixture
def registered_csp(instance: RunningInstance) -> str:
    """A key storage provider under the name of a CryptoAPI provider."""
    directory: Path = instance.instance.config[0] / "providers.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{CSP}.toml").write_text('image = "keyiso.providers.software"\n')
    return CSP


def test_a_container_of_cryptoapi_is_a_key(registered_csp: str) -> None:
    for machine, flags in ((False, 0), (True, CRYPT_MACHINE_KEYSET)):
        with Key.create("container", "RSA", machine=machine, overwrite=True) as key:
            legacy = ncrypt.HCRYPTPROV(registered_csp, "container", flags)

            provider, found = ncrypt.NCryptTranslateHandle(legacy)

            assert (
                ncrypt.NCryptGetProperty(found, "Unique Name")[:-2].decode("utf-16-le")
                == key.unique_name
            )
            own: object = ncrypt.NCryptGetProperty(found, NCRYPT_PROVIDER_HANDLE_PROPERTY)
            assert isinstance(own, ncrypt.NCryptProvHandle)
            for handle in (own, provider, found):
                ncrypt.NCryptFreeObject(handle)


def test_what_cannot_be_translated(registered_csp: str) -> None:
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptTranslateHandle(ncrypt.HCRYPTPROV(registered_csp, "no such container"))
    with fails(Status.NTE_NOT_FOUND):
        ncrypt.NCryptTranslateHandle(ncrypt.HCRYPTPROV("unknown provider", "container"))
    with fails(Status.NTE_BAD_FLAGS):
        ncrypt.NCryptTranslateHandle(ncrypt.HCRYPTPROV(CSP, "container"), None, 1, 1)
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptTranslateHandle(None)
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptTranslateHandle(ncrypt.HCRYPTPROV(CSP, "container"), 4711)
