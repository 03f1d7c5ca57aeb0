"""The exception tree: one class for all, one for each status that programs handle."""

import copy
import pickle

import msgspec
import pytest

from keyiso import errors
from keyiso.errors import (
    EphemeralKeyGoneError,
    Hop,
    InvalidSignatureError,
    KeyExistsError,
    KeyNotFoundError,
    NCryptError,
    ServiceUnavailableError,
    VbsUnavailableError,
    ncrypt_error,
)
from keyiso.status import Status
from keyiso.wire.session import LocalProtocolError, RemoteProtocolError

CLASSES = {
    Status.NTE_BAD_KEYSET: KeyNotFoundError,
    Status.NTE_EXISTS: KeyExistsError,
    Status.NTE_BAD_SIGNATURE: InvalidSignatureError,
    Status.KEYISO_E_EPHEMERAL_GONE: EphemeralKeyGoneError,
    Status.NTE_VBS_UNAVAILABLE: VbsUnavailableError,
    Status.KEYISO_E_SERVICE_UNAVAILABLE: ServiceUnavailableError,
}

WAY = (Hop("application", 1, "SignHash"), Hop("keyiso", 2, "OpenKey"))


@pytest.mark.parametrize("status", Status)
def test_a_status_has_its_class(status: Status) -> None:
    assert type(ncrypt_error(status)) is CLASSES.get(status, NCryptError)


@pytest.mark.parametrize(("status", "kind"), CLASSES.items())
def test_a_number_from_the_wire_has_the_class_of_its_status(
    status: Status, kind: type[NCryptError]
) -> None:
    error = ncrypt_error(int(status))

    assert type(error) is kind
    assert error.status == status


def test_a_subclass_says_in_its_documentation_which_status_it_is() -> None:
    for status, kind in CLASSES.items():
        assert f"``{status.name}``" in (kind.__doc__ or "")


def test_every_subclass_stands_for_a_status() -> None:
    kinds = [kind for kind in NCryptError.__subclasses__() if kind.__module__ == errors.__name__]

    assert set(kinds) == set(CLASSES.values())


def test_an_error_keeps_what_it_was_made_with() -> None:
    error = ncrypt_error(Status.NTE_PERM, "cause", "action", WAY)

    assert (error.status, error.cause, error.action, error.chain) == (
        Status.NTE_PERM,
        "cause",
        "action",
        WAY,
    )
    assert type(error.status) is int


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ncrypt_error(Status.NTE_PERM), "NTE_PERM (0x80090010): Access is denied."),
        (
            ncrypt_error(Status.NTE_PERM, "uid 7 may not", "Ask.", WAY),
            "NTE_PERM (0x80090010): Access is denied. Cause: uid 7 may not. Ask."
            " Way: application[1] SignHash -> keyiso[2] OpenKey.",
        ),
        (ncrypt_error(0x800706BC, "why"), "0x800706BC: a status without a name. Cause: why."),
        (
            ncrypt_error(Status.NTE_PERM, action="Ask."),
            "NTE_PERM (0x80090010): Access is denied. Ask.",
        ),
        (
            LocalProtocolError("what", "Do."),
            "KEYISO_E_PROTOCOL (0xA0090004): The peer broke the wire protocol, or speaks a version"
            " that is not supported. Cause: what. Do.",
        ),
    ],
)
def test_an_error_reads_as_sentences(error: NCryptError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    "error",
    [
        *(ncrypt_error(status, "cause", "action", WAY) for status in CLASSES),
        ncrypt_error(Status.NTE_FAIL, "cause", "action", WAY),
        ncrypt_error(0x800706BC),
        LocalProtocolError("cause", "action"),
        RemoteProtocolError("cause"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("through", ["pickle", "copy", "deep copy"])
def test_an_error_survives_pickle_and_copy(error: NCryptError, through: str) -> None:
    """As multiprocessing and test runners do it."""
    if through == "pickle":
        again = pickle.loads(pickle.dumps(error))
    else:
        again = copy.copy(error) if through == "copy" else copy.deepcopy(error)

    assert type(again) is type(error)
    assert (again.status, again.cause, again.action, again.chain) == (
        error.status,
        error.cause,
        error.action,
        error.chain,
    )
    assert str(again) == str(error)


def test_a_subclass_can_be_caught_as_the_one_class() -> None:
    with pytest.raises(NCryptError):
        raise ncrypt_error(Status.NTE_EXISTS)


def test_a_hop_is_a_frozen_value() -> None:
    hop = Hop("keyiso", 2, "OpenKey")

    assert str(hop) == "keyiso[2] OpenKey"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(hop), type=Hop) == hop
    with pytest.raises(AttributeError):
        hop.pid = 3  # type: ignore[misc]
