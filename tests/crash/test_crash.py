"""Nothing is lost: the KeyIso service is killed at every write of every change.

strace makes the N-th system call of a kind that changes files kill the service, for N = 1, 2, 3
and so on until the change completes unharmed. After each kill the store has the old state or the
new one, and the operation id, asked again, answers truthfully.
"""

import os
import select
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import Key, KeyNotFoundError, NCryptError, Provider, ncrypt
from keyiso.client.binding import Binding, bind_process
from keyiso.client.request import Request
from keyiso.client.retry import RetryPolicy
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_header import AccessEntry, Level, Right
from keyiso.flags import DACL_SECURITY_INFORMATION, NCRYPT_PERSIST_ONLY_FLAG
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, NCRYPT_SECURITY_DESCR_PROPERTY
from keyiso.names import encode_name
from keyiso.status import Status
from keyiso.supervisor.backoff import FREE_RESTARTS
from keyiso.wire.control import (
    CreateKey,
    DeleteKey,
    GetImportKey,
    ImportKey,
    SetAccess,
    SetProperty,
)
from keyiso.wire.key_terms import KeyTerms
from tests.crash.strace import killing, needs_strace, wait_for_end
from tests.instance import RunningInstance
from tests.restart.keyring import Keyring
from tests.restart.victims import Victims

WRITES = ("pwrite64", "fdatasync")
"""What SQLite changes files with in WAL mode; strace counts each kind for itself."""

LONGEST_RUN = 200

pytestmark = needs_strace

Change = Callable[[Request], object]


@dataclass(frozen=True)
class Case:
    """A change: what there is before it, and what is there after it."""

    name: str
    exists_before: bool
    exists_after: bool


@dataclass(frozen=True)
class State:
    """A stored key."""

    key_id: bytes
    note: bytes | None
    """The value of its property `NOTE`."""
    descriptor: bytes
    """Its access list."""


NOTE = "Note"

CASES = (
    Case("create", False, True),
    Case("import", False, True),
    Case("overwrite", True, True),
    Case("delete", True, False),
    Case("property", True, True),
    Case("access", True, True),
)


@pytest.fixture(params=["software", pytest.param("vbs", marks=pytest.mark.soak)])
def level(request: pytest.FixtureRequest) -> Level:
    """Of the key that is changed; skips what the machine cannot have."""
    if request.param == "vbs":
        request.getfixturevalue("armed_machine")
    found: Level = request.param
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_kill_at_any_write_leaves_the_old_state_or_the_new_one(
    case: Case,
    level: Level,
    instance: RunningInstance,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is changed is a persisted key of level software, or a per-boot one of level vbs."""
    Key.create("bystander", "ECDSA_P256").close()
    kills: Counter[str] = Counter()
    for call in WRITES:
        for when in range(1, LONGEST_RUN):
            left = _change_with_kill(case, level, instance, tmp_path, call, when)
            if left == "done":
                break
            kills[left] += 1
            if level == "software" and kills.total() % FREE_RESTARTS == 0:
                instance.end()  # of this supervisor the next one would have to wait for a restart
                instance.start()  # which takes longer than the wait where pairs have to be armed
        else:
            pytest.fail(f"{LONGEST_RUN} times {call} and no end")
    with capsys.disabled():
        print(f"\n  {case.name}, {level}: {kills['old']} kills left the old state,", end="")
        print(f" {kills['new']} the new")

    assert kills["old"], "no kill came before the commit"
    assert kills["new"], "no kill came between commit and answer"


def _change_with_kill(
    case: Case, level: Level, instance: RunningInstance, path: Path, call: str, when: int
) -> str:
    """One change with one kill: the state that it left, or "done" when nothing was killed."""
    name = f"key-{call}-{when}"
    Victims(instance, level).settle()  # what the last kill hit is back
    fragile = bind_process(instance.environ, policy=RetryPolicy(deadline=0))
    if case.exists_before:
        Keyring(level).create(name, "ECDSA_P256").close()
    before = _state(name)
    change = _change(case, level, name, before, fragile)
    killed = _try_with_kill(instance, fragile, change, path, call, when)

    after = _state(name)
    assert killed or after != before, "the change was answered with success and not made"
    bind_process(instance.environ).try_until_done(case.name, change)  # the same operation id
    final = _state(name)
    assert (final is not None) == case.exists_after
    if after != before:
        assert final == after, "the repeat did not answer with the first result"
    names = [key.pszName for key in Provider().keys()]
    assert names.count(name) == int(case.exists_after)
    assert "bystander" in names
    if not killed:
        return "done"
    return "old" if after == before else "new"


def _change(
    case: Case, level: Level, name: str, before: "State | None", binding: Binding
) -> Change:
    """The request, with one operation id for however often it is sent."""
    operation_id = binding.operation_id()
    terms = KeyTerms(
        operation_id=operation_id,
        provider=MS_KEY_STORAGE_PROVIDER,
        scope="user",
        owner=os.geteuid(),
        name=encode_name(name),
        lifetime="persisted" if level == "software" else "per-boot",
        algorithm="ECDSA_P256",
        bits=256,
        usage=0xFFFFFF,
        export_policy=0,
        overwrite=case.name == "overwrite",
        level=level,
    )
    if case.name in ("delete", "property", "access"):
        assert before is not None
        where = operation_id, terms.provider, terms.scope, terms.name, before.key_id
        access = (AccessEntry("uid", str(os.geteuid()), int(Right.MANAGE)),)
        operation = {
            "delete": DeleteKey(*where),
            "property": SetProperty(*where, NOTE.encode("utf-16-le"), b"new"),
            "access": SetAccess(*where, access),
        }[case.name]
        return lambda request: request.control(operation)
    if case.name != "import":
        return lambda request: request.control(CreateKey(terms))
    import_terms = msgspec.structs.replace(terms, algorithm="", bits=0)
    pkcs8 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    def import_key(request: Request) -> object:
        worker = request.control(GetImportKey(level))
        sealed = seal_import(pkcs8, worker.public_key, import_terms)
        return request.control(ImportKey(import_terms, worker.worker_instance, sealed))

    return import_key


def _try_with_kill(
    instance: RunningInstance, binding: Binding, change: Change, path: Path, call: str, when: int
) -> bool:
    """Make the change while the N-th write kills the service. True when it did."""
    pid = instance.pid_of("keyiso")
    with killing(pid, path, call, when) as pidfd:
        try:
            binding.try_until_done("change", change)
        except NCryptError:
            wait_for_end(pidfd)
            return True
        ended, _, _ = select.select([pidfd], [], [], 0)
        return bool(ended)


def _state(name: str) -> State | None:
    """What is stored under a name, as an application sees it."""
    try:
        key = Key.open(name)
    except KeyNotFoundError:
        return None
    with key:
        descriptor = ncrypt.NCryptGetProperty(
            key.handle, NCRYPT_SECURITY_DESCR_PROPERTY, DACL_SECURITY_INFORMATION
        )
        return State(bytes.fromhex(key.unique_name), _note(key), descriptor)


def _note(key: Key) -> bytes | None:
    try:
        return ncrypt.NCryptGetProperty(key.handle, NOTE, NCRYPT_PERSIST_ONLY_FLAG)
    except NCryptError as error:
        if error.status != Status.NTE_NOT_FOUND:
            raise
        return None
