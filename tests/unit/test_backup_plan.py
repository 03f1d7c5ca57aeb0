"""What a restore says before it is done, key by key."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from keyiso.backup.contents import Contents
from keyiso.backup.fate import Fate
from keyiso.backup.holdings import HeldKey, KeyRoot
from keyiso.backup.plan import Present, RootStep, check_kind, plan_restore
from keyiso.backup.root_file import RootFile
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.store.schema import MACHINE
from keyiso.tpm.enrolment import EnrolledRoot, encode_enrolment
from tests.unit.backups import SEALED_ROOT, make_store, manifest_of
from tests.unit.test_tpm_enrolment import ENROLMENT

HERE, OTHER = b"h" * 16, b"o" * 16
UID = 4242


@pytest.fixture(autouse=True)
def as_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: UID)


def key(
    name: str, *, number: int = 1, generation: int = 1, root: KeyRoot | None = None, uid: int = UID
) -> HeldKey:
    place = "provider", uid, name.encode("utf-16-le")
    return HeldKey(place, bytes([number]) * 16, generation, root or software(HERE))


def software(root_id: bytes) -> KeyRoot:
    return KeyRoot("software", "machine", root_id)


def present(
    *keys: HeldKey, root: bytes | None = HERE, trouble: NCryptError | None = None
) -> Present:
    found = None if root is None else RootFile(root, b"")
    return Present({one.place: one for one in keys}, None, found, trouble)


def root_of(root_id: bytes) -> EnrolledRoot:
    return msgspec.structs.replace(ENROLMENT.newest, root_id=root_id)


def instance(*, system: bool = False) -> Instance:
    return Instance(system, Path("/state"), Path("/run"), ())


@pytest.fixture
def backup(tmp_path: Path) -> Contents:
    return Contents(manifest_of(make_store(tmp_path / "store")), ())


def with_keys(backup: Contents, *keys: HeldKey) -> Contents:
    return Contents(backup.manifest, keys)


def with_enrolment(backup: Contents) -> Contents:
    manifest = msgspec.structs.replace(backup.manifest, enrolment=encode_enrolment(ENROLMENT))
    return Contents(manifest, backup.keys)


def with_root(backup: Contents, root_id: bytes, *keys: HeldKey) -> Contents:
    root = msgspec.structs.replace(SEALED_ROOT, root_id=root_id)
    return Contents(msgspec.structs.replace(backup.manifest, root=root), keys)


def test_keys_return_replace_change_or_end(backup: Contents) -> None:
    here = present(key("same"), key("replaced"), key("changed", generation=2), key("ends"))
    contents = with_keys(
        backup, key("same"), key("replaced", number=2), key("changed"), key("returns")
    )

    plan = plan_restore(contents, here, instance(), replace_root=False)

    named = [
        [one.name for one in keys]
        for keys in (plan.returning, plan.replacing, plan.changing, plan.ending)
    ]
    assert named == [["returns"], ["replaced"], ["changed"], ["ends"]]
    assert plan.compared


def test_what_becomes_of_each_key(backup: Contents) -> None:
    keys = {
        Fate.OPENS: [key("opens"), key("of the machine", uid=MACHINE)],
        Fate.ROOT_MISSING: [key("other root", root=software(OTHER))],
        Fate.NEEDS_TPM: [key("vbs", root=KeyRoot("vbs", "machine", ENROLMENT.newest.root_id))],
        Fate.OTHER_LEVEL: [key("other vbs", root=KeyRoot("vbs", "machine", OTHER))],
        Fate.PER_BOOT: [key("per boot", root=KeyRoot("software", "boot", HERE))],
        Fate.OTHER_USER: [key("not mine", uid=UID + 1)],
        Fate.DAMAGED: [HeldKey(("provider", UID, b"odd"), b"k" * 16, 1, None)],
    }
    contents = with_keys(backup, *(one for some in keys.values() for one in some))
    contents = with_enrolment(contents)

    plan = plan_restore(contents, present(), instance(), replace_root=False)
    assert {fate: list(found) for fate, found in plan.fates.items()} == keys
    plan = plan_restore(contents, present(), instance(system=True), replace_root=False)
    assert [one.name for one in plan.fates[Fate.OTHER_USER]] == []


@pytest.mark.parametrize(
    ("here", "step"),
    [(None, RootStep.INSTALL), (OTHER, RootStep.SAME), (HERE, RootStep.REPLACE)],
    ids=["none here", "the same here", "another one here"],
)
def test_what_is_done_with_the_root(backup: Contents, here: bytes | None, step: RootStep) -> None:
    contents = with_root(backup, OTHER, key("web", root=software(OTHER)))

    plan = plan_restore(contents, present(root=here), instance(), replace_root=True)

    assert plan.root is step
    assert [one.name for one in plan.fates[Fate.OPENS]] == ["web"]


def test_another_root_or_a_damaged_one_is_not_replaced_unasked(backup: Contents) -> None:
    contents = with_root(backup, OTHER)
    trouble = ncrypt_error(Status.NTE_BAD_DATA)
    for here in (present(root=HERE), present(root=None, trouble=trouble)):
        with pytest.raises(NCryptError) as caught:
            plan_restore(contents, here, instance(), replace_root=False)
        assert caught.value.status == Status.KEYISO_E_ROOT_MISSING
        plan = plan_restore(contents, here, instance(), replace_root=True)
        assert plan.root is RootStep.REPLACE


def test_without_a_root_in_the_backup(backup: Contents) -> None:
    assert plan_restore(backup, present(), instance(), replace_root=True).root is RootStep.KEEP
    nothing = present(root=None)
    assert plan_restore(backup, nothing, instance(), replace_root=True).root is RootStep.NONE


def test_an_enrolment_is_put_in_place_only_where_there_is_none(backup: Contents) -> None:
    contents = with_enrolment(with_keys(backup, key("v", root=KeyRoot("vbs", "machine", OTHER))))
    other = msgspec.structs.replace(ENROLMENT, roots=(root_of(OTHER),))
    here = replace(present(), enrolment=other)

    plan = plan_restore(contents, present(), instance(), replace_root=False)
    assert (plan.enrolment, len(plan.fates[Fate.NEEDS_TPM])) == (encode_enrolment(ENROLMENT), 0)
    plan = plan_restore(contents, here, instance(), replace_root=False)
    assert (plan.enrolment, len(plan.fates[Fate.NEEDS_TPM])) == (b"", 1)
    plan = plan_restore(backup, present(), instance(), replace_root=False)
    assert plan.enrolment == b""


@pytest.mark.parametrize("system", [True, False])
def test_a_backup_of_the_other_kind_is_refused(backup: Contents, system: bool) -> None:
    contents = Contents(msgspec.structs.replace(backup.manifest, system=system), ())

    check_kind(contents, instance(system=system))
    with pytest.raises(NCryptError) as caught:
        check_kind(contents, instance(system=not system))
    assert caught.value.status == Status.NTE_INVALID_PARAMETER
