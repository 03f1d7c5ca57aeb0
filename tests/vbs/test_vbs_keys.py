"""Keys of level ``vbs`` as programs see them, with real pairs."""

import os
import signal
import struct

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyiso import Key, Protection, ncrypt
from keyiso import flags as f
from keyiso import identifiers as names
from keyiso.client.binding import bind_process
from keyiso.errors import NCryptError, VbsUnavailableError
from keyiso.keys import ExportPolicy, Provider
from keyiso.status import Status
from keyiso.trustlet.arming.process import status_of, tracer_of
from keyiso.wire.control import GetIsolation
from tests.instance import RunningInstance

pytestmark = pytest.mark.usefixtures("vbs_instance")

ALGORITHMS = ("ECDSA_P256", "ECDSA_P384", "ECDSA_P521", "ED25519", "RSA")


def per_boot(name: str | None, algorithm: str = "ECDSA_P256") -> Key:
    return Key.create(name, algorithm, protection=Protection.REQUIRE_VBS, per_boot=name is not None)


def status_of_call(error: pytest.ExceptionInfo[NCryptError]) -> int:
    return error.value.status


def dword(key: Key, name: str) -> int:
    return int(struct.unpack("<I", ncrypt.NCryptGetProperty(key.handle, name))[0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_ephemeral_key_signs(algorithm: str) -> None:
    with per_boot(None, algorithm) as key:
        key.verify(key.sign(b"data"), b"data")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_per_boot_key_is_stored_and_opened_again(algorithm: str) -> None:
    name = f"stored {algorithm}"
    with per_boot(name, algorithm) as key:
        public, unique = key.public_key(), key.unique_name
    with Key.open(name) as again:
        assert again.unique_name == unique
        assert again.public_key() == public
        again.verify(again.sign(b"data"), b"data")
        again.delete()
    assert not Key.exists(name)


def test_it_says_what_it_is() -> None:
    with per_boot("described") as key:
        assert dword(key, names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY) == 1
        assert dword(key, names.NCRYPT_USE_PER_BOOT_KEY_PROPERTY) == 1
        assert dword(key, names.NCRYPT_IMPL_TYPE_PROPERTY) == (
            f.NCRYPT_IMPL_SOFTWARE_FLAG | f.NCRYPT_IMPL_VIRTUAL_ISOLATION_FLAG
        )
        report = key.protection
        assert (report.level, report.lifetime) == ("vbs", "per-boot")
        assert not any("root can read" in threat for threat in report.not_stopped)
        key.delete()
    with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as key:
        assert dword(key, names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY) == 1
        assert dword(key, names.NCRYPT_USE_PER_BOOT_KEY_PROPERTY) == 0


@pytest.mark.parametrize(
    "foreign",
    [
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["EC", "RSA", "Ed25519"],
)
def test_a_key_can_be_imported_and_does_not_leave_again(
    foreign: ec.EllipticCurvePrivateKey,
) -> None:
    pkcs8 = foreign.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with Key.import_key("foreign", pkcs8, protection=Protection.REQUIRE_VBS, per_boot=True) as key:
        assert key.public_key() == foreign.public_key()
        key.verify(key.sign(b"data"), b"data")
        for password in (None, "password"):
            with pytest.raises(NCryptError) as caught:
                key.export(password=password)
            assert status_of_call(caught) == Status.NTE_NOT_SUPPORTED
        with pytest.raises(NCryptError):
            key.private_key().private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        key.delete()


@pytest.mark.parametrize("policy", [ExportPolicy.ENCRYPTED, ExportPolicy.PLAINTEXT])
def test_an_export_policy_that_would_let_it_out_is_refused(policy: ExportPolicy) -> None:
    with pytest.raises(NCryptError) as caught:
        Key.create(
            None, "ECDSA_P256", protection=Protection.REQUIRE_VBS, export_policy=policy
        ).close()
    assert status_of_call(caught) == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    "name",
    [names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY, names.NCRYPT_USE_PER_BOOT_KEY_PROPERTY],
)
def test_its_isolation_cannot_be_set(name: str) -> None:
    with per_boot(None) as key, pytest.raises(NCryptError) as caught:
        ncrypt.NCryptSetProperty(key.handle, name, struct.pack("<I", 0))
    assert status_of_call(caught) == Status.NTE_NOT_SUPPORTED


def test_a_stored_key_needs_an_enrolled_tpm_and_the_error_says_so() -> None:
    with pytest.raises(VbsUnavailableError) as caught:
        Key.create("stored", "ECDSA_P256", protection=Protection.REQUIRE_VBS).close()
    assert "TPM" in caught.value.cause
    assert "keyiso tpm enroll" in caught.value.action
    assert not Key.exists("stored")


def test_where_none_is_enrolled_a_preference_falls_back_and_the_key_says_so() -> None:
    with Key.create("preferred", "ECDSA_P256", protection=Protection.PREFER_VBS) as key:
        assert key.protection.level == "software"
        with pytest.raises(NCryptError) as caught:
            dword(key, names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY)
        assert status_of_call(caught) == Status.NTE_NOT_SUPPORTED
        key.delete()


def test_what_can_be_had_is_had_by_a_preference() -> None:
    with Key.create(None, "ECDSA_P256", protection=Protection.PREFER_VBS) as key:
        assert key.protection.level == "vbs"


@pytest.mark.parametrize(
    "flags",
    [
        f.NCRYPT_USE_PER_BOOT_KEY_FLAG,
        f.NCRYPT_USE_PER_BOOT_KEY_FLAG | f.NCRYPT_PREFER_VBS_FLAG,
        f.NCRYPT_USE_PER_BOOT_KEY_FLAG | f.NCRYPT_REQUIRE_VBS_FLAG,
        f.NCRYPT_USE_PER_BOOT_KEY_FLAG | f.NCRYPT_REQUIRE_VBS_FLAG | f.NCRYPT_PREFER_VBS_FLAG,
    ],
)
def test_a_per_boot_flag_goes_with_every_other_one(flags: int) -> None:
    with Provider() as provider:
        handle = ncrypt.NCryptCreatePersistedKey(
            provider.handle, "ECDSA_P256", "flags", 0, flags | f.NCRYPT_OVERWRITE_KEY_FLAG
        )
        ncrypt.NCryptFinalizeKey(handle)
        isolated = ncrypt.NCryptGetProperty(handle, names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY)
        assert isolated == struct.pack("<I", 1)
        ncrypt.NCryptDeleteKey(handle)


def test_overwriting_never_lowers_a_level() -> None:
    with per_boot("kept") as key:
        unique = key.unique_name
        with pytest.raises(NCryptError) as caught:
            Key.create("kept", "ECDSA_P256", overwrite=True).close()
        assert status_of_call(caught) == Status.NTE_PERM
        with Key.open("kept") as same:
            assert same.unique_name == unique
        key.delete()


def test_overwriting_may_raise_it_and_the_old_handle_never_uses_the_new_key() -> None:
    with Key.create("raised", "ECDSA_P256") as old:
        old.sign(b"data")
        with Key.create(
            "raised",
            "ECDSA_P256",
            protection=Protection.REQUIRE_VBS,
            per_boot=True,
            overwrite=True,
        ) as new:
            with pytest.raises(NCryptError) as caught:
                old.sign(b"data")
            assert status_of_call(caught) == Status.NTE_BAD_KEYSET
            new.verify(new.sign(b"data"), b"data")
            new.delete()


def test_properties_and_access_lists_are_those_of_the_armed_worker() -> None:
    with per_boot("with properties") as key:
        ncrypt.NCryptSetProperty(key.handle, "mine", b"value", f.NCRYPT_PERSIST_FLAG)
        assert ncrypt.NCryptGetProperty(key.handle, "mine") == b"value"
        key.set_access(key.access)
        key.verify(key.sign(b"data"), b"data")
        key.delete()


def test_many_hashes_are_signed_at_once() -> None:
    digests = [bytes([number]) * 32 for number in range(100)]
    with per_boot(None) as key:
        for digest, signature in zip(digests, key.sign_digests(digests), strict=True):
            key.verify_digest(signature, digest)


def test_the_workers_are_armed(vbs_instance: RunningInstance) -> None:
    per_boot(None).close()
    isolation = bind_process(vbs_instance.environ).control(GetIsolation())
    assert isolation.state == "armed"
    assert {finding.answer for finding in isolation.findings} == {"yes"}
    pairs = [one for one in vbs_instance.status().processes if one.worker_pid]
    assert pairs
    for pair in pairs:
        assert tracer_of(pair.worker_pid) == pair.pid
        assert tracer_of(pair.pid) != 0
        assert status_of(pair.worker_pid, "Seccomp") == "2"


def test_a_killed_pair_is_replaced_and_nothing_is_lost(vbs_instance: RunningInstance) -> None:
    """The boot root lives in the other pairs."""
    with per_boot("survivor") as key, per_boot(None) as ephemeral:
        for _ in range(3):
            for pair in vbs_instance.status().processes:
                if pair.worker_pid and pair.service == "vbs-0":
                    os.kill(pair.worker_pid, signal.SIGKILL)
            key.verify(key.sign(b"data"), b"data")
            ephemeral.verify(ephemeral.sign(b"data"), b"data")
        key.delete()


def test_keys_are_found_when_every_service_but_the_pairs_was_killed(
    vbs_instance: RunningInstance,
) -> None:
    with per_boot("found") as key, per_boot(None) as ephemeral:
        services = [name for name in vbs_instance.pids() if not name.startswith(("vbs", "super"))]
        vbs_instance.kill(*services)
        key.verify(key.sign(b"data"), b"data")
        ephemeral.verify(ephemeral.sign(b"data"), b"data")
        key.delete()


def test_when_all_pairs_die_at_once_their_keys_have_gone_and_say_so(
    vbs_instance: RunningInstance,
) -> None:
    """Without a TPM the boot root lives in their memory alone."""
    with (
        per_boot("of the boot") as key,
        per_boot(None) as ephemeral,
        Key.create("ordinary", "ECDSA_P256", overwrite=True) as ordinary,
    ):
        pairs = [name for name in vbs_instance.pids() if name.startswith("vbs-")]
        vbs_instance.kill(*pairs)
        with pytest.raises(NCryptError) as caught:
            key.sign(b"data")
        assert status_of_call(caught) == Status.NTE_VBS_CANNOT_DECRYPT_KEY
        with pytest.raises(NCryptError) as caught:
            ephemeral.sign(b"data")
        assert status_of_call(caught) == Status.KEYISO_E_EPHEMERAL_GONE
        with pytest.raises(NCryptError) as caught:
            Key.open("of the boot")
        assert status_of_call(caught) == Status.NTE_VBS_CANNOT_DECRYPT_KEY
        ordinary.verify(ordinary.sign(b"data"), b"data")
    with per_boot("of the boot after") as key:
        key.verify(key.sign(b"data"), b"data")
    with Key.create(
        "of the boot",
        "ECDSA_P256",
        protection=Protection.REQUIRE_VBS,
        per_boot=True,
        overwrite=True,
    ) as key:
        key.verify(key.sign(b"data"), b"data")
        key.delete()
