"""Several users and one system instance: who sees whose keys, and who trusts whose sockets.

Needs root, which starts the services as different users and clients as others.
"""

import json
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import AccessRule, Key, ncrypt
from keyiso.status import Status
from keyiso.tpm.enrolment import tpm_group
from keyiso.tpm.transport import DEVICE
from keyiso.wire.messages import Refusal
from tests.conformance.raw_client import RawClient
from tests.conformance.world import (
    ALICE,
    BOB,
    KEYISO,
    MALLORY,
    PASSPORT,
    PRELUDE,
    SECONDS,
    TRUSTLET,
    SystemInstance,
    World,
    uid_of,
)
from tests.instance import RunningInstance

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")


# --- the services ------------------------------------------------------------------------------


def proc_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def wait_until_all_serve(system: SystemInstance) -> None:
    """A service has hardened itself by the time it says anything, if only that it refuses us."""
    with RawClient.at(system.instance.control_socket) as client:
        client.hello()
    for path in system.instance.workers.glob("software-*.sock"):
        with RawClient.at(path) as client:
            assert isinstance(client.receive(), Refusal)


def test_the_services_run_as_different_users(system: SystemInstance) -> None:
    """For good: no other id is left to go back to, no capability, and no group but the TPM's for
    the worker that has the Passport containers."""
    wait_until_all_serve(system)
    group = tpm_group(str(DEVICE))
    opens_tpm = {"software-generator": [str(group)] if group else []}
    for service, pid in system.pids().items():
        if service == "supervisor":
            continue
        uid = uid_of_service(service)
        found = proc_status(pid)
        assert found["Uid"].split() == [str(uid)] * 4, service
        assert found["Groups"].split() == opens_tpm.get(service, []), service
        assert found["NoNewPrivs"] == "1", service
        assert {found[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    for one in system.status().processes:
        assert one.uid == uid_of_service(one.service)


def uid_of_service(service: str) -> int:
    if service.startswith("passport"):
        return uid_of(PASSPORT)
    return uid_of(KEYISO if service == "keyiso" else TRUSTLET)


def test_the_roots_are_the_trustlets_alone(system: SystemInstance, world: World) -> None:
    world.run(ALICE, "Key.create('makes the roots', 'ECDSA_P256'); tell(0)")
    instance = system.instance
    directories = (instance.software_machine_root.parent, instance.runtime / "software-trustlet")
    files = [file for directory in directories for file in directory.iterdir()]
    assert len(files) >= 2
    for path, mode in (*((d, 0o700) for d in directories), *((f, 0o600) for f in files)):
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (uid_of(TRUSTLET), mode), path

    reads = "\n".join(
        f"try: open({str(file)!r}).close(); told.append('read')\n"
        "except PermissionError: told.append('refused')"
        for file in files
    )
    for user in (KEYISO, ALICE):
        told = world.run(user, "told = []\n" + reads + "\ntell(told)")
        assert told == ["refused"] * len(files), user


def test_the_store_is_keyisos_alone(system: SystemInstance, world: World) -> None:
    world.run(ALICE, "Key.create('makes the store', 'ECDSA_P256'); tell(0)")
    store = system.instance.store
    assert store.stat().st_uid == uid_of(KEYISO)
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700

    for user in (TRUSTLET, ALICE):
        told = world.run(user, f"tell(os.access({str(store)!r}, os.R_OK))")
        assert told is False, user


@pytest.mark.parametrize("victim", ["keyiso", "software-0", "software-generator"])
@pytest.mark.parametrize("user", [KEYISO, TRUSTLET, ALICE])
def test_no_user_reads_the_memory_of_a_service(
    system: SystemInstance, world: World, user: str, victim: str
) -> None:
    """Not even the one that the service runs as: it cannot be dumped or traced."""
    pid = system.pid_of(victim)
    code = f"""
try:
    open('/proc/{pid}/mem', 'rb').close()
    tell('read')
except PermissionError:
    tell('refused')
"""

    assert world.run(user, code) == "refused"


@pytest.mark.parametrize("user", [KEYISO, TRUSTLET, ALICE])
def test_only_keyiso_reaches_the_workers(system: SystemInstance, world: World, user: str) -> None:
    """Their sockets are in its directory; and who gets through is asked who he is."""
    path = system.instance.workers / "software-0.sock"
    code = f"""
client = None
try:
    with raw_client.RawClient.at({str(path)!r}) as client:
        tell(type(client.hello()).__name__)
except PermissionError:
    tell('refused')
"""

    assert world.run(user, code) == ("Welcome" if user == KEYISO else "refused")


def test_a_worker_asks_who_connects(system: SystemInstance, world: World) -> None:
    """Root gets through the directory, and is not KeyIso either."""
    with RawClient.at(system.instance.workers / "software-0.sock") as client:
        answer = client.receive()

    assert isinstance(answer, Refusal)
    assert answer.status == Status.KEYISO_E_PEER_REFUSED


def test_services_come_back_as_the_users_they_were(system: SystemInstance, world: World) -> None:
    """And a handle of another user goes on over it."""
    code = """
key = Key.create('outlives', 'ECDSA_P256', overwrite=True)
key.sign(b'')
tell('signed')
wait()
key.verify(key.sign(b''), b'')
tell('signed again')
"""
    with world.start(ALICE, code) as alice:
        assert alice.told() == "signed"
        system.kill("keyiso", "software-0", "software-1", "software-generator")
        alice.go_on()
        assert alice.told() == "signed again"

    test_the_services_run_as_different_users(system)


def test_only_root_stops_the_system_instance(system: SystemInstance, world: World) -> None:
    """Others may look at its status."""
    code = """
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
instance = client_instance(os.environ)
tell([
    supervisor_status(instance, trusted_uids()).system,
    outcome(lambda: stop_instance(instance, trusted_uids())),
])
"""
    before = system.pids()

    assert world.run(ALICE, code) == [True, "NTE_PERM"]

    assert system.pids() == before


# --- users' keys -------------------------------------------------------------------------------


def test_a_users_key_does_not_exist_for_another(world: World) -> None:
    """By no call: as if there were none, so that names tell nothing either."""
    mine = """
key = Key.create('secret', 'ECDSA_P256')
tell([key.unique_name, [one.pszName for one in Provider().keys()].count('secret')])
wait()
tell(outcome(lambda: key.verify(key.sign(b''), b'')))
"""
    theirs = """
tell([
    outcome(lambda: Key.open('secret').name),
    Key.exists('secret'),
    'secret' in [one.pszName for one in Provider().keys()],
    'secret' in [one.pszName for one in Provider().keys(machine=True)],
])
"""
    with world.start(ALICE, mine) as alice:
        _, listed = alice.told()
        assert listed == 1
        for user in (BOB, "root"):
            assert world.run(user, theirs) == ["NTE_BAD_KEYSET", False, False, False]
        alice.go_on()
        assert alice.told() is None


def test_one_name_of_two_users_is_two_keys(world: World) -> None:
    """Neither sees, replaces or deletes the other's."""
    code = """
key = Key.create('shared name', 'ECDSA_P256')
tell(key.unique_name)
wait()
tell([outcome(lambda: key.verify(key.sign(b''), b'')), Key.open('shared name').unique_name])
"""
    with world.start(ALICE, code) as alice, world.start(BOB, code) as bob:
        hers, his = alice.told(), bob.told()
        assert hers != his
        told = world.run(
            BOB,
            "new = Key.create('shared name', 'RSA', overwrite=True); tell(new.unique_name)",
        )
        assert told not in (hers, his)
        alice.go_on()
        assert alice.told() == [None, hers]
        bob.go_on()
        assert bob.told() == ["NTE_BAD_KEYSET", told]

    world.run(BOB, "Key.open('shared name').delete(); tell(0)")
    assert world.run(BOB, "tell(Key.exists('shared name'))") is False
    assert world.run(ALICE, "tell(Key.open('shared name').unique_name)") == hers


def test_a_key_id_that_leaked_is_nothing(world: World) -> None:
    """Deleting means the caller's own key of a name, whatever id is named."""
    hers = world.run(ALICE, "tell(Key.create('leaked', 'ECDSA_P256').unique_name)")
    code = f"""
from keyiso.wire.control import DeleteKey
with raw_client.RawClient.bound(control()) as client:
    tell([
        status_name(client.status(DeleteKey(
            os.urandom(16), raw_client.PROVIDER, scope, raw_client.units('leaked'),
            bytes.fromhex({hers!r}))))
        for scope in ('user', 'machine')
    ])
"""

    assert world.run(BOB, code) == ["NTE_BAD_KEYSET", "NTE_BAD_KEYSET"]

    assert world.run(ALICE, "tell(Key.open('leaked').unique_name)") == hers


def test_keys_are_not_made_for_somebody_else(world: World) -> None:
    code = f"""
from keyiso.wire.control import CreateKey
with raw_client.RawClient.bound(control()) as client:
    tell(status_name(client.status(
        CreateKey(raw_client.terms('planted', owner={uid_of(ALICE)})))))
"""

    assert world.run(BOB, code) == "NTE_PERM"

    assert world.run(ALICE, "tell(Key.exists('planted'))") is False


def test_somebody_elses_operation_id_is_nothing(world: World) -> None:
    """Not his result, and not an error that would tell that it was used."""
    code = """
from keyiso.wire.control import CreateKey, DeleteKey
used = bytes(range(16))
with raw_client.RawClient.bound(control()) as client:
    made = client.call(CreateKey(raw_client.terms('replayed', operation_id=used)))
    again = client.call(CreateKey(raw_client.terms('replayed', operation_id=used)))
    tell([made.header.key_id.hex(), made.header.owner, made == again])
"""
    hers, his = world.run(ALICE, code), world.run(BOB, code)

    assert hers[1:] == [uid_of(ALICE), True]
    assert his[1:] == [uid_of(BOB), True]
    assert hers[0] != his[0]


def test_stolen_numbers_are_nothing(world: World) -> None:
    """Channel ids, slots and worker instances of one user, in the hands of another."""
    mine = """
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Sign, Signature
from keyiso.wire.control import CreateKey, OpenKey
with raw_client.RawClient.bound(control()) as client:
    name = raw_client.units('of alice')
    client.call(CreateKey(raw_client.terms('of alice')))
    slots = []
    for _ in range(4):  # on every worker
        channel, attached = client.attach()
        opened = client.call(OpenKey(
            raw_client.PROVIDER, 'user', name, attached.channel_id, attached.worker_instance))
        slots.append([
            attached.channel_id.hex(), attached.worker_instance.hex(), opened.slot])
    tell(slots)
    wait()
    tell(isinstance(channel.call(Sign(opened.slot, bytes(32), Padding())), Signature))
"""
    theirs = """
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Sign
from keyiso.wire.control import CreateKey, OpenKey
stolen = json.loads({stolen!r})
with raw_client.RawClient.bound(control()) as client:
    client.call(CreateKey(raw_client.terms('of bob')))
    told = []
    for _ in range(4):
        channel, attached = client.attach()
        for channel_id, worker, slot in stolen:
            told.append(status_name(channel.status(Sign(slot, bytes(32), Padding()))))
            for name in ('of bob', 'of alice'):
                told.append(status_name(client.status(OpenKey(
                    raw_client.PROVIDER, 'user', raw_client.units(name),
                    bytes.fromhex(channel_id), bytes.fromhex(worker)))))
    tell(told)
"""
    with world.start(ALICE, mine) as alice:
        stolen = alice.told()
        told = world.run(BOB, theirs.format(stolen=json.dumps(stolen)))
        alice.go_on()
        assert alice.told() is True

    assert told == ["KEYISO_E_STALE", "KEYISO_E_STALE", "NTE_BAD_KEYSET"] * len(stolen) * 4


def test_a_stolen_ephemeral_key_is_nothing(world: World) -> None:
    """With its blob and its client's secret, even: it belongs to a user, too."""
    mine = """
from keyiso.wire.control import CreateKey
with raw_client.RawClient.bound(control(), b'g' * 16) as client:
    tell(client.call(CreateKey(raw_client.terms())).blob.hex())
    wait()
"""
    theirs = """
from keyiso.wire.control import OpenEphemeral, ReleaseEphemeral
from keyiso.wire.results import Opened
blob = bytes.fromhex({blob!r})
with raw_client.RawClient.bound(control(), b'g' * 16) as client:
    _, attached = client.attach()
    opening = OpenEphemeral(blob, attached.channel_id, attached.worker_instance)
    answer = client.call(opening)
    tell('opened' if isinstance(answer, Opened) else status_name(answer.status))
    tell(None if isinstance(answer, Opened) else status_name(client.status(ReleaseEphemeral(blob))))
"""
    with world.start(ALICE, mine) as alice:
        blob = alice.told()
        for user, expected in (
            (BOB, ["KEYISO_E_EPHEMERAL_GONE"] * 2),
            ("root", ["KEYISO_E_EPHEMERAL_GONE"] * 2),
            (ALICE, ["opened", None]),
        ):
            with world.start(user, theirs.format(blob=blob)) as thief:
                assert [thief.told(), thief.told()] == expected, user


# --- events ------------------------------------------------------------------------------------


def test_the_event_log_is_keyisos_alone(system: SystemInstance, world: World) -> None:
    world.run(ALICE, "Key.create('is an event', 'ECDSA_P256'); tell(0)")
    log = system.instance.events / "events.jsonl"
    assert (log.stat().st_uid, stat.S_IMODE(log.stat().st_mode)) == (uid_of(KEYISO), 0o600)
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700

    for user in (TRUSTLET, ALICE):
        assert world.run(user, f"tell(os.access({str(log)!r}, os.R_OK))") is False, user


SWITCH = """
from keyiso.wire.control import EventChannels, GetEventChannels, SetEventChannel
from keyiso.wire.results import Done
def answered(answer):
    return type(answer).__name__ if not hasattr(answer, 'status') else status_name(answer.status)
with raw_client.RawClient.bound(control()) as client:
    tell([answered(client.call(SetEventChannel('KeyMgmt', 4))),
          answered(client.call(GetEventChannels()))])
"""


RESEAL = """
from keyiso.wire.control import ResealKeys
with raw_client.RawClient.bound(control()) as client:
    tell(status_name(client.call(ResealKeys(b'no id', b'')).status))
"""


def test_only_who_manages_the_instance_has_its_keys_sealed_anew(
    system: SystemInstance, world: World
) -> None:
    """What they send is looked at; nothing is sealed here, which would start armed processes."""
    for user in (ALICE, TRUSTLET):
        assert world.run(user, RESEAL) == "NTE_PERM", user
    for user in ("root", KEYISO):
        assert world.run(user, RESEAL) == "NTE_INVALID_PARAMETER", user


def test_only_who_manages_the_instance_switches_its_event_log(
    system: SystemInstance, world: World
) -> None:
    before = len(events_of(system))
    for user in (ALICE, TRUSTLET):
        assert world.run(user, SWITCH) == ["NTE_PERM", "NTE_PERM"], user
    assert len(events_of(system)) == before
    keyiso = pwd.getpwnam(KEYISO)
    for user, groups in (("root", ()), (KEYISO, ()), (ALICE, (keyiso.pw_gid,))):
        told = world.run(user, SWITCH, groups=groups)
        assert told == ["Done", "EventChannels"], user

    switched = events_of(system)[before:]
    assert [line["event_id"] for line in switched] == [1000] * 3
    assert [line["uid"] for line in switched] == [0, uid_of(KEYISO), uid_of(ALICE)]


def test_an_event_names_the_user_whose_key_it_was(system: SystemInstance, world: World) -> None:
    """By the kernel's word, whatever the process calls itself; also on a key channel."""
    code = """
sys.argv[0] = 'sshd'
key = Key.create('of whom', 'RSA', usage=KeyUsage.DECRYPT, overwrite=True)
tell([os.getpid(), outcome(lambda: key.sign(b'')), outcome(lambda: Key.open('nobody'))])
wait()
"""
    for user in (ALICE, BOB):
        with world.start(user, code) as process:
            pid, *statuses = process.told()
            assert statuses == ["NTE_PERM", "NTE_BAD_KEYSET"]
            deadline = time.monotonic() + SECONDS
            while True:
                found = {line["event_id"]: line for line in events_of(system) if line["pid"] == pid}
                if found.keys() == {1, 3, 21}:
                    break
                assert time.monotonic() < deadline, found
                time.sleep(0.05)
            assert {line["uid"] for line in found.values()} == {uid_of(user)}
            assert {line["data"]["ProcessName"] for line in found.values()} == {"sshd"}


def events_of(system: SystemInstance) -> list[dict[str, Any]]:
    text = (system.instance.events / "events.jsonl").read_text(encoding="ascii")
    return [json.loads(line) for line in text.splitlines()]


# --- machine keys ------------------------------------------------------------------------------


def test_root_manages_machine_keys(world: World, system: SystemInstance) -> None:
    with Key.create("of the machine", "ECDSA_P256", machine=True) as key:
        key.verify(key.sign(b""), b"")
        assert key.machine
    replaced = Key.create("of the machine", "ECDSA_P256", machine=True, overwrite=True)
    with Key.open("of the machine", machine=True) as key:
        assert key.unique_name == replaced.unique_name


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("exists", [False, True], ids=["a free name", "a taken name"])
def test_others_do_not_make_machine_keys(
    world: World, system: SystemInstance, exists: bool, overwrite: bool, name: str
) -> None:
    """Nor does the answer tell whether the name is taken."""
    made = Key.create(name, "ECDSA_P256", machine=True) if exists else None
    code = "tell(outcome(lambda: Key.create({!r}, 'ECDSA_P256', machine=True, overwrite={})))"

    assert world.run(ALICE, code.format(name, overwrite)) == "NTE_PERM"

    assert Key.exists(name, machine=True) is exists
    if made is not None:
        made.sign(b"")


def test_a_machine_key_does_not_exist_for_others_by_default(
    world: World, system: SystemInstance
) -> None:
    """Its access list names who manages machine keys, and nobody else."""
    key = Key.create("not for users", "ECDSA_P256", machine=True)
    code = f"""
from keyiso.wire.control import DeleteKey
told = [
    outcome(lambda: Key.open('not for users', machine=True).name),
    Key.exists('not for users', machine=True),
    [one.pszName for one in Provider().keys(machine=True)],
]
with raw_client.RawClient.bound(control()) as client:
    told.append(status_name(client.status(DeleteKey(
        os.urandom(16), raw_client.PROVIDER, 'machine', raw_client.units('not for users'),
        bytes.fromhex({key.unique_name!r})))))
tell(told)
"""

    assert world.run(ALICE, code) == ["NTE_BAD_KEYSET", False, [], "NTE_BAD_KEYSET"]

    key.verify(key.sign(b""), b"")


def test_a_machine_key_is_shared_by_its_access_list(world: World, system: SystemInstance) -> None:
    """Use is not managing, and who is taken off the list is out at once, with open handles too."""
    shared = Key.create("shared", "ECDSA_P256", machine=True)
    own = shared.access
    shared.set_access((*own, AccessRule(f"user:{ALICE}"), AccessRule(f"user:{BOB}", manage=True)))
    code = """
key = Key.open('shared', machine=True)
key.verify(key.sign(b''), b'')
tell([
    [one.pszName for one in Provider().keys(machine=True)],
    outcome(lambda: key.set_access(key.access)),
    outcome(lambda: ncrypt.NCryptSetProperty(key.handle, 'Note', b'mine', 0x80000000)),
    outcome(key.delete) if {delete} else None,
])
wait()
tell(outcome(lambda: key.sign(b'')))
"""
    with world.start(ALICE, code.format(delete=True)) as alice:
        assert alice.told() == [["shared"], "NTE_PERM", "NTE_PERM", "NTE_PERM"]
        with world.start(BOB, code.format(delete=False)) as bob:
            assert bob.told() == [["shared"], None, None, None]

            shared.set_access(own)

            for process in (alice, bob):
                process.go_on()
                assert process.told() == "NTE_BAD_KEYSET"
    assert ncrypt.NCryptGetProperty(shared.handle, "Note") == b"mine"
    shared.delete()


def test_a_group_shares_a_machine_key(world: World, system: SystemInstance) -> None:
    shared = Key.create("of a group", "ECDSA_P256", machine=True)
    shared.set_access((*shared.access, AccessRule("group:4711")))
    code = "tell(outcome(lambda: len(Key.open('of a group', machine=True).sign(b''))))"

    assert world.run(ALICE, code, groups=(4711,)) == 64
    assert world.run(ALICE, code, groups=(4712,)) == "NTE_BAD_KEYSET"
    shared.delete()


def test_others_do_not_read_a_keys_properties(world: World, system: SystemInstance) -> None:
    """Nor set them: by a request made by hand, with the key's id and name known."""
    key = Key.create("with a note", "ECDSA_P256", machine=True)
    ncrypt.NCryptSetProperty(key.handle, "Note", b"for us", 0x80000000)
    code = f"""
from keyiso.crypto.key_header import AccessEntry
from keyiso.wire.control import GetProperty, SetAccess, SetProperty
where = (raw_client.PROVIDER, 'machine', raw_client.units('with a note'),
         bytes.fromhex({key.unique_name!r}))
note = raw_client.units('Note')
with raw_client.RawClient.bound(control()) as client:
    tell([
        status_name(client.status(operation))
        for operation in (
            GetProperty(*where, note),
            SetProperty(bytes(16), *where, note, b'mine'),
            SetAccess(bytes(16), *where, (AccessEntry('uid', str(os.geteuid()), 3),)),
        )
    ])
"""

    assert world.run(ALICE, code) == 3 * ["NTE_BAD_KEYSET"]

    assert ncrypt.NCryptGetProperty(key.handle, "Note") == b"for us"
    key.delete()


def test_members_of_the_group_keyiso_manage_machine_keys(
    world: World, system: SystemInstance
) -> None:
    """As a supplementary group, too. What they make is root's to use as well."""
    group = pwd.getpwnam(KEYISO).pw_gid
    code = """
key = Key.create('of the group', 'ECDSA_P256', machine=True)
tell([key.unique_name, outcome(lambda: key.verify(key.sign(b''), b''))])
"""

    unique_name, signed = world.run(ALICE, code, groups=(group,))

    assert signed is None
    with Key.open("of the group", machine=True) as key:
        assert key.unique_name == unique_name
        key.delete()


@pytest.mark.parametrize("exists", [False, True], ids=["a free name", "a taken name"])
def test_others_do_not_delete_damaged_machine_keys(
    world: World, system: SystemInstance, exists: bool, name: str
) -> None:
    """Nor does the answer tell whether there is one, damaged or not."""
    made = Key.create(name, "ECDSA_P256", machine=True) if exists else None
    code = f"""
from keyiso.wire.control import DeleteKey
with raw_client.RawClient.bound(control()) as client:
    tell(status_name(client.status(DeleteKey(
        os.urandom(16), raw_client.PROVIDER, 'machine', raw_client.units({name!r}), b''))))
"""

    assert world.run(ALICE, code) == "NTE_PERM"

    if made is not None:
        made.sign(b"")


# --- whose socket ------------------------------------------------------------------------------

IMPOSTOR = """
import pathlib, socket
os.umask(0)
directory = pathlib.Path({directory!r})
directory.mkdir(mode=0o777)
listening = socket.socket(socket.AF_UNIX)
listening.bind(str(directory / 'control.sock'))
listening.listen()
tell('listening')
connected, _ = listening.accept()
tell(connected.recv(1000).hex())
"""


def test_a_control_socket_of_another_user_is_refused(world: World, homes: Path) -> None:
    """And nothing is said to it, not even a hello."""
    home = homes / "lured"
    home.mkdir()
    impostors = homes / "impostors"
    impostors.mkdir()
    impostors.chmod(0o777)
    (home / "runtime").symlink_to(impostors / "runtime")
    code = IMPOSTOR.format(directory=str(impostors / "runtime"))

    with world.start(MALLORY, code) as mallory:
        assert mallory.told() == "listening"
        told = world.run(BOB, "tell(outcome(lambda: Key.exists('web')))", home=home)
        heard = mallory.told()

    assert told == "KEYISO_E_PEER_REFUSED"
    assert heard == ""


def test_root_does_not_trust_a_users_socket(world: World, homes: Path) -> None:
    home = homes / "lured root"
    home.mkdir()
    impostors = homes / "impostors of root"
    impostors.mkdir()
    impostors.chmod(0o777)
    (home / "runtime").symlink_to(impostors / "runtime")
    code = IMPOSTOR.format(directory=str(impostors / "runtime"))

    with world.start(MALLORY, code) as mallory:
        assert mallory.told() == "listening"
        told = world.run("root", "tell(outcome(lambda: Key.exists('web')))", home=home)
        heard = mallory.told()

    assert told == "KEYISO_E_PEER_REFUSED"
    assert heard == ""


@pytest.fixture
def private_instance(world: World, homes: Path) -> Iterator[RunningInstance]:
    """An instance that is not the system's, of root, whose doors were left open by mistake."""
    running = RunningInstance(homes / "private")
    running.start()
    runtime = running.instance.runtime
    runtime.chmod(0o755)
    running.instance.control_socket.chmod(0o666)
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(runtime)


def test_a_private_instance_closes_its_doors(world: World, homes: Path) -> None:
    running = RunningInstance(homes / "closed")
    running.start()
    runtime = running.instance.runtime
    try:
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
        assert stat.S_IMODE(running.instance.state.stat().st_mode) == 0o700
        for path in (running.instance.control_socket, running.instance.supervisor_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        running.end()
        shutil.rmtree(runtime)


def test_a_private_instance_serves_nobody_else(
    private_instance: RunningInstance, world: World
) -> None:
    """Who gets as far as its socket is asked who he is, and told why not."""
    code = """
try:
    with raw_client.RawClient.at(control()) as client:
        answer = client.receive()
        tell([type(answer).__name__, status_name(answer.status), answer.cause])
except raw_client.Ended:
    tell('ended')
"""

    told = world.run(BOB, code, home=private_instance.home)

    assert told[:2] == ["Refusal", "KEYISO_E_PEER_REFUSED"]
    assert f"uid {uid_of(BOB)}" in told[2]


def test_the_library_says_that_it_was_refused(
    private_instance: RunningInstance, world: World
) -> None:
    """Not that the service could not be reached: trying again would not help."""
    code = "tell([outcome(lambda: Key.exists('web')) for _ in range(20)])"

    assert world.run(BOB, code, home=private_instance.home) == ["KEYISO_E_PEER_REFUSED"] * 20


def test_an_instance_out_of_reach_is_an_error_of_ours(world: World, homes: Path) -> None:
    """Another user's home, which this one may not even look into."""
    closed = homes / "out of reach"
    closed.mkdir(mode=0o700)
    code = "tell(outcome(lambda: Key.exists('web')))"
    environ = {**world.environ(closed), "KEYISO_DEADLINE": "0.2"}
    entry = pwd.getpwnam(BOB)

    told = subprocess.run(
        [world.python, "-I", "-c", PRELUDE + code],
        env=environ,
        cwd="/",
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert told.stderr == ""
    assert json.loads(told.stdout) == "KEYISO_E_SERVICE_UNAVAILABLE"


# --- again -------------------------------------------------------------------------------------


def test_a_system_instance_starts_again(python: Path, homes: Path) -> None:
    """With the directories that it gave to its services' users, and the keys in them."""
    running = SystemInstance(homes / "again", python)
    running.start()
    runtime = running.instance.runtime
    world = World(python, running.home)
    try:
        unique_name = world.run(ALICE, "tell(Key.create('kept', 'ECDSA_P256').unique_name)")
        running.end()

        running.start()

        code = "key = Key.open('kept'); key.sign(b''); tell(key.unique_name)"
        assert world.run(ALICE, code) == unique_name
    finally:
        running.end()
        shutil.rmtree(runtime)


# --- who is bound ------------------------------------------------------------------------------

BOUND = """
from keyiso.wire.control import GetBindings
with raw_client.RawClient.bound(control()) as client:
    tell(sorted({process.uid for process in client.call(GetBindings()).processes}))
"""


def test_a_user_sees_his_own_processes_and_who_manages_the_instance_everybodys(
    system: SystemInstance, world: World
) -> None:
    """With key channels, which the workers tell of by themselves."""
    use = "key = Key.create(None, 'ECDSA_P256'); key.sign(b'data'); tell(0); wait()"
    keyiso = pwd.getpwnam(KEYISO)
    alice, bob = uid_of(ALICE), uid_of(BOB)
    with world.start(ALICE, use) as first, world.start(BOB, use) as second:
        assert first.told() == second.told() == 0
        assert world.run(ALICE, BOUND) == [alice]
        assert world.run(MALLORY, BOUND) == [uid_of(MALLORY)]
        for user, groups in (("root", ()), (KEYISO, ()), (MALLORY, (keyiso.pw_gid,))):
            assert {alice, bob} <= set(world.run(user, BOUND, groups=groups)), user
