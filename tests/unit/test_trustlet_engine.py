"""What a worker does with keys, and what it refuses."""

from collections.abc import Callable

import msgspec
import pytest

from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_blob import Root, seal_key, unseal_key
from keyiso.crypto.key_header import AccessEntry
from keyiso.crypto.private_keys import private_key_bytes
from keyiso.crypto.public_keys import load_public_key, public_key_der
from keyiso.crypto.signatures import NO_PADDING, Padding, verify_digest
from keyiso.errors import EphemeralKeyGoneError, NCryptError
from keyiso.status import Status
from keyiso.trustlet.engine import Engine
from keyiso.wire.key_terms import KeyGrant, KeyTerms
from tests.conformance.statuses import fails
from tests.unit.samples import BOOT_ROOT, ROOT, boot_header, ec_key, header, pkcs8, rsa_key

GRANT = KeyGrant((AccessEntry("uid", "1000", 3),), 7, b"")


def terms(algorithm: str = "ECDSA_P256", bits: int = 256, **changes: object) -> KeyTerms:
    fields: dict[str, object] = {
        "operation_id": b"o" * 16,
        "provider": "Microsoft Software Key Storage Provider",
        "scope": "user",
        "owner": 1000,
        "name": "web".encode("utf-16-le"),
        "lifetime": "persisted",
        "algorithm": algorithm,
        "bits": bits,
        "usage": 2,
        "export_policy": 0,
        "overwrite": False,
    }
    return KeyTerms(**fields | changes)  # type: ignore[arg-type]


def ephemeral(algorithm: str = "ECDSA_P256", bits: int = 256) -> KeyTerms:
    return terms(algorithm, bits, name=b"", lifetime="ephemeral")


@pytest.fixture
def engine() -> Engine:
    return Engine("software", ROOT, BOOT_ROOT)


def status_of(action: Callable[[], object]) -> int:
    with pytest.raises(NCryptError) as caught:
        action()
    return caught.value.status


@pytest.mark.parametrize(
    ("algorithm", "bits", "padding"),
    [
        ("RSA", 2048, Padding(8, "SHA256", 32)),
        ("ECDSA_P256", 256, NO_PADDING),
        ("ECDSA_P384", 384, NO_PADDING),
        ("ECDSA_P521", 521, NO_PADDING),
    ],
)
def test_a_generated_key_is_sealed_opened_and_signs(
    engine: Engine, algorithm: str, bits: int, padding: Padding
) -> None:
    sealed = engine.generate(terms(algorithm, bits), GRANT)
    key = engine.unseal(sealed.blob)
    signature = engine.sign(key, b"d" * 32, padding)

    verify_digest(load_public_key(sealed.header.public_key), b"d" * 32, signature, padding)
    assert key.header == sealed.header
    assert (key.header.algorithm, key.header.bits) == (algorithm, bits)


def test_a_header_says_what_was_asked_for_and_granted(engine: Engine) -> None:
    found = engine.generate(terms(usage=6, export_policy=3, scope="machine"), GRANT).header

    assert (found.provider, found.scope, found.owner) == (terms().provider, "machine", 1000)
    assert (found.name, found.lifetime) == (terms().name, "persisted")
    assert (found.usage, found.export_policy) == (6, 3)
    assert (found.access, found.generation, found.client_group) == (GRANT.access, 7, b"")
    assert (found.origin, found.level) == ("generated", "software")
    assert (found.root_id, found.root_kind) == (ROOT.root_id, "machine")


def test_two_keys_of_one_name_have_two_ids(engine: Engine) -> None:
    first, second = (engine.generate(terms(), GRANT).header for _ in range(2))

    assert first.key_id != second.key_id
    assert first.public_key != second.public_key
    assert len(first.key_id) == 16


def test_an_ephemeral_key_is_sealed_by_the_root_of_the_boot(engine: Engine) -> None:
    sealed = engine.generate(ephemeral(), KeyGrant((), 1, b"g" * 32))

    assert (sealed.header.root_id, sealed.header.root_kind) == (BOOT_ROOT.root_id, "boot")
    assert sealed.header.client_group == b"g" * 32
    assert unseal_key(BOOT_ROOT, sealed.blob)[0] == sealed.header


def test_an_imported_key_is_the_one_that_was_sealed(engine: Engine) -> None:
    wanted = terms("", 0)
    sealed = engine.import_sealed(
        wanted, GRANT, seal_import(pkcs8(rsa_key()), engine.import_key, wanted)
    )

    assert sealed.header.origin == "imported-sealed"
    assert (sealed.header.algorithm, sealed.header.bits) == ("RSA", 2048)
    assert sealed.header.public_key == public_key_der(rsa_key().public_key())
    assert private_key_bytes(engine.unseal(sealed.blob).private_key) == pkcs8(rsa_key())


def test_an_import_under_other_terms_is_refused(engine: Engine) -> None:
    sealed = seal_import(pkcs8(), engine.import_key, terms("", 0))

    assert (
        status_of(lambda: engine.import_sealed(terms("", 0, owner=0), GRANT, sealed))
        == Status.NTE_BAD_DATA
    )


def test_every_worker_has_an_import_key_of_its_own() -> None:
    keys = {Engine("software", ROOT, BOOT_ROOT).import_key for _ in range(5)}

    assert len(keys) == 5
    assert {len(key) for key in keys} == {32}


def test_what_a_key_may_not_do_it_does_not_do(engine: Engine) -> None:
    key = engine.unseal(engine.generate(terms(usage=0xFFFFFF & ~2), GRANT).blob)

    assert status_of(lambda: engine.sign(key, b"d" * 32, NO_PADDING)) == Status.NTE_PERM


def test_a_key_of_another_boot_is_gone() -> None:
    old = Engine("software", ROOT, Root(b"o" * 16, "boot", b"x" * 32))
    blob = old.generate(ephemeral(), KeyGrant((), 1, b"g" * 32)).blob

    with pytest.raises(EphemeralKeyGoneError):
        Engine("software", ROOT, BOOT_ROOT).unseal(blob)


def test_a_per_boot_key_of_another_boot_has_an_error_of_its_own(engine: Engine) -> None:
    other = Root(b"o" * 16, "boot", b"x" * 32)
    blob = seal_key(other, boot_header(root_id=b"o" * 16, lifetime="per-boot"), pkcs8())

    assert status_of(lambda: engine.unseal(blob)) == Status.NTE_VBS_CANNOT_DECRYPT_KEY


def test_without_a_machine_root_only_ephemeral_keys_are_served() -> None:
    engine = Engine("software", None, BOOT_ROOT)
    stored = seal_key(ROOT, header(), pkcs8())

    engine.unseal(engine.generate(ephemeral(), KeyGrant((), 1, b"g" * 32)).blob)
    assert status_of(lambda: engine.unseal(stored)) == Status.KEYISO_E_ROOT_MISSING
    assert status_of(lambda: engine.generate(terms(), GRANT)) == Status.KEYISO_E_ROOT_MISSING


def test_a_key_of_another_machine_root_is_bad_data(engine: Engine) -> None:
    other = Root(b"o" * 16, "machine", ROOT.secret)
    blob = seal_key(other, header(root_id=b"o" * 16), pkcs8())

    assert status_of(lambda: engine.unseal(blob)) == Status.NTE_BAD_DATA


@pytest.mark.parametrize("level", ["vbs", "hardware"])
def test_a_worker_opens_only_keys_of_its_level(engine: Engine, level: str) -> None:
    """Whoever holds the root could otherwise have a better key opened in a worse place."""
    blob = seal_key(ROOT, header(level=level), pkcs8())

    assert status_of(lambda: engine.unseal(blob)) == Status.NTE_BAD_DATA


def test_a_private_key_that_does_not_fit_its_public_one_is_bad_data(engine: Engine) -> None:
    other = public_key_der(ec_key("ECDSA_P384").public_key())
    blob = seal_key(ROOT, header(public_key=other), pkcs8())

    assert status_of(lambda: engine.unseal(blob)) == Status.NTE_BAD_DATA


def test_a_key_of_an_algorithm_of_a_later_version_is_an_error_of_ncrypt(engine: Engine) -> None:
    """After a downgrade, say."""
    blob = seal_key(ROOT, header(algorithm="ML-DSA-65"), pkcs8())

    with pytest.raises(NCryptError):
        assert engine.unseal(blob).memory


# --- Passport containers ------------------------------------------------------------------------

CONTAINER = ContainerSecret(b"c" * 16, b"the container's own secret......")
OTHER = ContainerSecret(b"c" * 16, b"the secret after a reset........")


def test_a_key_in_a_container_needs_the_root_and_the_containers_secret(engine: Engine) -> None:
    made = engine.generate(terms(), GRANT, CONTAINER)
    asked: list[bytes] = []

    def opener(container_id: bytes) -> ContainerSecret:
        asked.append(container_id)
        return CONTAINER

    key = engine.unseal(made.blob, opener)

    assert made.header.container_id == key.header.container_id == b"c" * 16
    assert asked == [b"c" * 16]
    signature = engine.sign(key, b"d" * 32, NO_PADDING)
    verify_digest(load_public_key(made.header.public_key), b"d" * 32, signature, NO_PADDING)
    with fails(Status.NTE_UI_REQUIRED):
        engine.unseal(made.blob)
    with fails(Status.NTE_BAD_DATA):
        engine.unseal(made.blob, lambda container_id: OTHER)


def test_what_is_in_the_blob_of_such_a_key_is_no_key_without_the_secret(engine: Engine) -> None:
    made = engine.generate(terms(), GRANT, CONTAINER)
    _, value = unseal_key(ROOT, made.blob)

    private_key_info = bytes.fromhex("301306072a8648ce3d0201")  # of an elliptic curve
    assert private_key_info not in value
    assert private_key_info in CONTAINER.unwrap_key(made.header.key_id, value)


def test_a_key_in_a_container_is_never_made_to_be_exported(engine: Engine) -> None:
    for policy in (1, 2, 4, 8, 0x1F):
        with fails(Status.NTE_NOT_SUPPORTED):
            engine.generate(terms(export_policy=policy), GRANT, CONTAINER)


def test_without_the_pin_its_header_is_authenticated_and_its_access_changed(engine: Engine) -> None:
    made = engine.generate(terms(), GRANT, CONTAINER)
    changed = engine.change_access(made.blob, (AccessEntry("uid", "7", 1),))

    assert engine.authenticate(made.blob) == made.header
    assert engine.authenticate(changed.blob).container_id == CONTAINER.container_id
    assert engine.unseal(changed.blob, lambda container_id: CONTAINER).header == changed.header
    with fails(Status.NTE_BAD_DATA):
        engine.authenticate(made.blob[:-1] + bytes([made.blob[-1] ^ 1]))


# --- another machine root ----------------------------------------------------------------------

NEWER = Root(b"newer root      ", "machine", b"secret of the newer machine root")


@pytest.fixture
def rotated() -> Engine:
    """What takes the place of ``engine`` after a rotation."""
    return Engine("software", NEWER, BOOT_ROOT, older_roots=[ROOT])


def test_a_key_is_sealed_by_a_newer_root(engine: Engine, rotated: Engine) -> None:
    made = engine.generate(terms(), GRANT)
    sealed = rotated.reseal(made.blob, NEWER.root_id)
    header, value = unseal_key(NEWER, sealed.blob)

    assert value == unseal_key(ROOT, made.blob)[1]
    assert header == sealed.header
    assert (header.root_id, header.generation) == (NEWER.root_id, made.header.generation + 1)
    assert msgspec.structs.replace(
        header, root_id=ROOT.root_id, generation=made.header.generation
    ) == (made.header)


def test_what_that_root_seals_already_stays_as_it_is(rotated: Engine) -> None:
    made = rotated.generate(terms(), GRANT)

    assert rotated.reseal(made.blob, NEWER.root_id) == made


def test_no_key_is_sealed_by_another_root_than_is_meant(engine: Engine, rotated: Engine) -> None:
    """A worker that has not got the newer root yet, and one that has got a newer one still."""
    made = engine.generate(terms(), GRANT)
    with fails(Status.KEYISO_E_STALE):
        engine.reseal(made.blob, NEWER.root_id)
    with fails(Status.KEYISO_E_STALE):
        rotated.reseal(made.blob, ROOT.root_id)


def test_a_damaged_key_is_not_sealed_anew(engine: Engine, rotated: Engine) -> None:
    made = engine.generate(terms(), GRANT)
    with fails(Status.NTE_BAD_DATA):
        rotated.reseal(made.blob[:-1] + bytes([made.blob[-1] ^ 1]), NEWER.root_id)


def test_a_key_in_a_container_stays_wrapped_under_a_newer_root(
    engine: Engine, rotated: Engine
) -> None:
    made = engine.generate(terms(), GRANT, CONTAINER)
    sealed = rotated.reseal(made.blob, NEWER.root_id)

    assert unseal_key(NEWER, sealed.blob)[1] == unseal_key(ROOT, made.blob)[1]
    assert rotated.unseal(sealed.blob, lambda container_id: CONTAINER).header == sealed.header


def test_a_property_follows_its_key(engine: Engine, rotated: Engine) -> None:
    made, other = engine.generate(terms(), GRANT), engine.generate(terms(), GRANT)
    value = engine.seal_property(made.blob, b"name", b"value")
    key = rotated.reseal(made.blob, NEWER.root_id)
    moved = rotated.reseal_property(key.blob, ROOT.root_id, b"name", value)
    later = Engine("software", NEWER, BOOT_ROOT)

    assert later.open_property(key.blob, b"name", moved) == b"value"
    with fails(Status.NTE_BAD_DATA):
        later.open_property(key.blob, b"name", value)
    with fails(Status.NTE_BAD_DATA):
        rotated.reseal_property(key.blob, ROOT.root_id, b"other name", value)
    with fails(Status.NTE_BAD_DATA):
        other_key = rotated.reseal(other.blob, NEWER.root_id)
        rotated.reseal_property(other_key.blob, ROOT.root_id, b"name", value)
