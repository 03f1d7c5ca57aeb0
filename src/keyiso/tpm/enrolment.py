"""The enrolment of a machine: which TPM keeps the machine roots of ``vbs``, and the roots as it
sealed them.

Layout of the file: version (1 byte, 1), then msgpack. Nothing in it is secret. It is what every
start reads, so that a copy of it is worth keeping: without it the TPM has nothing to unseal.
"""

import contextlib
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_RH
from keyiso.tpm.sealed_root import SealedRoot, decode_sealed_root, unseal_root
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.transport import Transport, connect, open_device

UnsealMode = Literal["once-per-boot", "any-start"]
"""When the TPM gives the roots out: once in a boot, until the latch falls, or at any start."""

VERSION: Final = 1
FINGERPRINT_BYTES: Final = 32

_PORTS: Final = range(1, 1 << 16)
_PORT_DIGITS: Final = 5


class EnrolledRoot(msgspec.Struct, frozen=True, array_like=True):
    """One machine root."""

    root_id: bytes
    sealed: bytes
    """A `SealedRoot`, encoded."""
    recovery_copy: bytes = b""
    """The root, sealed to the recovery key; empty when there is no recovery key."""

    @property
    def sealed_root(self) -> SealedRoot:
        """Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` as `decode_sealed_root` does."""
        return decode_sealed_root(self.sealed)


class Enrolment(msgspec.Struct, frozen=True, array_like=True):
    """What a machine knows of its machine roots."""

    tpm: str
    """Its address, as `open_tpm` takes it."""
    unseal: UnsealMode
    roots: tuple[EnrolledRoot, ...]
    """The newest first: it seals keys. The others open what they sealed before."""
    recovery_key: bytes = b""
    """The fingerprint of the recovery key, to which all roots were sealed; empty without one."""

    @property
    def newest(self) -> EnrolledRoot:
        return self.roots[0]


_DECODER: Final = msgspec.msgpack.Decoder(Enrolment)


def read_enrolment(path: Path) -> Enrolment | None:
    """The enrolment in a file; None when there is none.

    Raises ``NTE_BAD_DATA`` for a damaged one and ``NTE_BAD_VER`` for one of an unknown version.
    """
    try:
        with open(path, "rb") as file:
            return decode_enrolment(file.read(limits.ENROLMENT_BYTES + 1))
    except FileNotFoundError:
        return None


def encode_enrolment(enrolment: Enrolment) -> bytes:
    """The bytes of an enrolment. Raises ``KEYISO_E_LIMIT`` above ``MACHINE_ROOTS``."""
    if len(enrolment.roots) > limits.MACHINE_ROOTS:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"there would be {len(enrolment.roots)} machine roots;"
            f" MACHINE_ROOTS is {limits.MACHINE_ROOTS}",
            "Retire those that no key needs any more, with `keyiso tpm retire`.",
        )
    return bytes([VERSION]) + msgspec.msgpack.encode(enrolment)


def decode_enrolment(data: bytes) -> Enrolment:
    """The enrolment of its bytes. Raises as `read_enrolment` does."""
    if len(data) > limits.ENROLMENT_BYTES:
        raise _damaged(f"it is longer than ENROLMENT_BYTES ({limits.ENROLMENT_BYTES})")
    if data and data[0] != VERSION:
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"the enrolment has version {data[0]}; this keyiso reads version {VERSION}",
            "Use the keyiso that wrote it, or a newer one.",
        )
    try:
        enrolment = _DECODER.decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _damaged("it cannot be read") from None
    _check(enrolment)
    return enrolment


def unseal_machine_roots(enrolment: Enrolment, tpm: Tpm) -> tuple[Root, ...]:
    """The machine roots, the newest first. Only an armed worker calls this.

    Raises ``KEYISO_E_TPM_CHANGED`` when this is another TPM, or was cleared,
    ``KEYISO_E_TPM_LATCHED`` after the latch fell in this boot, ``TPM_20_E_POLICY_FAIL`` when the
    machine was started otherwise than when it was enrolled, and what else `unseal_root` raises.
    """
    return tuple(_unsealed(root, tpm) for root in enrolment.roots)


def without_retired(enrolment: Enrolment, needed: Collection[bytes]) -> Enrolment:
    """The enrolment without the old roots whose id nobody needs. The newest stays."""
    kept = tuple(root for root in enrolment.roots[1:] if root.root_id in needed)
    return msgspec.structs.replace(enrolment, roots=(enrolment.newest, *kept))


@contextlib.contextmanager
def open_tpm(address: str, clock: Clock) -> Iterator[Tpm]:
    """The TPM at an address, while the block lasts: the path of a device such as ``/dev/tpmrm0``,
    or a TPM in software at ``unix:/path`` or ``tcp:127.0.0.1:2321``. The latter serves one
    connection at a time; others wait.

    Raises ``NTE_INVALID_PARAMETER`` for what is no address, ``NTE_DEVICE_NOT_FOUND``, ``NTE_PERM``
    and ``NTE_DEVICE_NOT_READY`` when the TPM cannot be opened.
    """
    with _transport(address) as transport:
        yield Tpm(transport, clock)


def check_tpm_address(address: str) -> None:
    """Raises ``NTE_INVALID_PARAMETER`` for what is no address of a TPM."""
    _transport(address)  # nothing is opened before it is entered


def tpm_group(address: str) -> int | None:
    """The group that a process needs to open a TPM's device, often ``tss``; None where it is none
    that could be given."""
    if not address.startswith("/"):
        return None
    with contextlib.suppress(OSError):
        return os.stat(address).st_gid or None
    return None


def _transport(address: str) -> contextlib.AbstractContextManager[Transport]:
    kind, _, place = address.partition(":")
    if len(os.fsencode(address)) <= limits.TPM_ADDRESS_BYTES and "\0" not in address:
        if address.startswith("/"):
            return open_device(Path(address))
        if kind == "unix" and place.startswith("/"):
            return connect(Path(place))
        host, _, port = place.rpartition(":")
        if kind == "tcp" and _is_internet_address(host) and _is_port(port):
            return connect((host, int(port)))
    raise ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        f"{address!r:.160} is no address of a TPM",
        "It is the path of a device, such as /dev/tpmrm0, or unix:/PATH or tcp:IPV4:PORT.",
    )


def _is_internet_address(host: str) -> bool:
    """By its numbers: to resolve a name takes files and other programs."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def _is_port(text: str) -> bool:
    return len(text) <= _PORT_DIGITS and text.isdecimal() and int(text) in _PORTS


def _unsealed(root: EnrolledRoot, tpm: Tpm) -> Root:
    secret = unseal_root(tpm, root.sealed_root)
    if len(secret) != SECRET_BYTES:
        raise _damaged(f"a sealed root has {len(secret)} bytes")
    return Root(root.root_id, "machine", secret)


def _check(enrolment: Enrolment) -> None:
    """Raise ``NTE_BAD_DATA`` for what no keyiso has written."""
    if not 1 <= len(enrolment.roots) <= limits.MACHINE_ROOTS:
        raise _damaged(f"it has {len(enrolment.roots)} roots")
    if len({root.root_id for root in enrolment.roots}) != len(enrolment.roots):
        raise _damaged("two of its roots have the same id")
    if len(enrolment.recovery_key) not in (0, FINGERPRINT_BYTES):
        raise _damaged("the fingerprint of its recovery key has a wrong length")
    for root in enrolment.roots:
        if len(root.root_id) != limits.ROOT_ID_BYTES:
            raise _damaged("a root's id has a wrong length")
        if root.sealed_root.hierarchy != TPM_RH.OWNER:
            raise _damaged("one of its roots is no machine root")
        if len(root.recovery_copy) > limits.RECOVERY_COPY_BYTES:
            raise _damaged("a recovery copy is too long")
        if bool(root.recovery_copy) != bool(enrolment.recovery_key):
            raise _damaged("not all of its roots have a recovery copy, or one has no key")
    try:
        check_tpm_address(enrolment.tpm)
    except NCryptError as error:
        raise _damaged(error.cause) from None


def _damaged(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"the enrolment is damaged: {cause}",
        "Put a copy of the file back. keyiso makes no new root in place of one that keys need.",
    )
