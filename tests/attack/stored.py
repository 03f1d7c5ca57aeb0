"""Attacks on what is stored of the keys, by editing the database behind the service's back."""

import os
from typing import Any

import msgspec

from keyiso import Key
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import AccessEntry, encode_header
from keyiso.errors import NCryptError
from keyiso.flags import NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG
from keyiso.status import status_name
from tests.attack.outcome import Outcome
from tests.attack.places import served
from tests.attack.services import DATA, Services, imported_name, protection
from tests.attack.target import Target


def swap_rows(subject: Target) -> Outcome:
    """Give one key the name of another one."""
    services, kind = served(subject).services, subject.kind
    first, second = imported_name(kind, "RSA"), imported_name(kind, "EC")
    original = {name: services.blob(name) for name in (first, second)}
    put(services, {first: original[second], second: original[first]})
    outcome = _opened(first)
    put(services, original)
    return outcome


def edit_policy(subject: Target) -> Outcome:
    """Allow a key to be exported."""
    return _with_header(subject, export_policy=NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG)


def edit_access(subject: Target) -> Outcome:
    """Allow everybody to use a key."""
    everybody = (AccessEntry("uid", str(os.geteuid()), 3), AccessEntry("uid", "4242", 3))
    return _with_header(subject, access=everybody)


def edit_level(subject: Target) -> Outcome:
    """Have a software key pass for one of level vbs, and the other way about."""
    return _with_header(subject, level="vbs" if subject.kind == "software" else "software")


def restore_row(subject: Target) -> Outcome:
    """Put back the row of a key that was deleted."""
    services, name = served(subject).services, f"{subject.kind} deleted"
    key = Key.create(name, "ECDSA_P256", **protection(subject.kind))  # type: ignore[arg-type]
    with services.store() as store:
        (row,) = store.execute("SELECT * FROM keys WHERE name = ?", (name.encode("utf-16-le"),))
    key.delete()
    with services.store() as store:
        store.execute(f"INSERT INTO keys VALUES ({', '.join('?' * len(row))})", row)
    services.kill_keyiso()
    outcome = _opened(name)
    if outcome.succeeded:
        Key.open(name).delete()
    return outcome


def _with_header(subject: Target, **changes: Any) -> Outcome:
    """Edit the header of a stored key, as somebody can who knows the format well."""
    services, name = served(subject).services, imported_name(subject.kind, "RSA")
    blob = services.blob(name)
    header = read_header(blob)
    old, new = encode_header(header), encode_header(msgspec.structs.replace(header, **changes))
    put(services, {name: blob[:1] + len(new).to_bytes(4, "little") + new + blob[5 + len(old) :]})
    outcome = _opened(name)
    put(services, {name: blob})
    return outcome


def put(services: Services, blobs: dict[str, bytes]) -> None:
    """Change what is stored; a new KeyIso service remembers nothing of before."""
    with services.store() as store:
        for name, blob in blobs.items():
            store.execute(
                "UPDATE keys SET blob = ? WHERE name = ?", (blob, name.encode("utf-16-le"))
            )
    services.kill_keyiso()


def _opened(name: str) -> Outcome:
    """Whether the key can be used."""
    try:
        with Key.open(name) as key:
            key.sign(DATA)
    except NCryptError as error:
        return Outcome(False, f"opening it: {status_name(error.status)}")
    return Outcome(True, "it was opened and signed")
