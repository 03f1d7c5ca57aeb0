"""No secret ever gets into the log, what the services print, the journal, an error, or a trace.

Every kind of operation is done with secrets that are known here, well and in vain, and then they
are looked for. The search itself is shown to find what was planted.
"""

import os
import shutil
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyiso import ExportPolicy, Key, KeyUsage, NCryptError, ncrypt
from keyiso.client.binding import bind_process
from keyiso.flags import NCRYPT_PAD_CIPHER_FLAG
from keyiso.router import process_router
from keyiso.wire.control import CreateKey, OpenEphemeral, SetEventChannel
from keyiso.wire.link import Authenticate
from tests.conformance.canaries import FORMS, PIECE_BYTES, found
from tests.conformance.raw_client import Ended, RawClient, frame, message, terms
from tests.event_log import EventInstance, event_instance
from tests.trace_listener import told_to

AES_HEADER = struct.pack("<3I", 0x4D42444B, 1, 32)


@dataclass
class Run:
    """What was done with the secrets, and what came of it."""

    instance: EventInstance
    secrets: dict[str, bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    """What clients told `keyiso trace`."""

    def fails(self, work: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Something that must not succeed; its error is kept, with everything that hangs on it."""
        with pytest.raises((NCryptError, Ended, ValueError)) as caught:
            work(*arguments, **options)
        error = caught.value
        texts = [str(error), repr(error), *map(str, vars(error).values())]
        self.errors += [*texts, *traceback.format_exception(error)]
        self.instance.sent += self.instance.journal.wait(0)  # before it is full

    def places(self) -> dict[str, bytes]:
        """Everything that must not have a secret."""
        directory = self.instance.instance.events
        self.instance.sent += self.instance.journal.wait(0)
        return {
            **{path.name: path.read_bytes() for path in directory.iterdir()},
            "what the services print": self.instance.instance.log.read_bytes(),
            "journal": b"".join(self.instance.sent),
            "errors": "\n".join(self.errors).encode("utf-8", "backslashreplace"),
            "trace": b"".join(self.records),
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("canary") / "home"
    with (
        pytest.MonkeyPatch.context() as patch,
        event_instance(home) as instance,
        told_to(home / "trace", patch) as records,
    ):
        patch.setenv("KEYISO_HOME", str(home))
        process_router.cache_clear()
        runtime = instance.instance.runtime
        done = Run(instance, records=records)
        bind_process(os.environ).control(SetEventChannel("Operational", 5))
        _use_private_keys(done)
        _use_passwords(done)
        _use_symmetric_keys(done)
        _use_the_wire(done)
        _lose_services(done)
        _read_roots(done)
        _wait_for_batches(done, "after the restart")
        yield done
        process_router.cache_clear()
    shutil.rmtree(runtime, ignore_errors=True)


def _use_private_keys(run: Run) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    long = rsa.generate_private_key(65537, 2048)
    edwards = ed25519.Ed25519PrivateKey.generate()
    numbers = long.private_numbers()
    run.secrets |= {
        "P-256": curve.private_numbers().private_value.to_bytes(32, "big"),
        "RSA d": numbers.d.to_bytes(256, "big"),
        "RSA p": numbers.p.to_bytes(128, "big"),
        "Ed25519": edwards.private_bytes_raw(),
        "plaintext": os.urandom(48),
    }
    plaintext = run.secrets["plaintext"]
    for name, private in (("p256", curve), ("rsa", long), ("ed25519", edwards)):
        pkcs8 = _pkcs8(private)
        with Key.import_key(name, pkcs8, export_policy=ExportPolicy.PLAINTEXT) as key:
            key.sign(plaintext)
            key.export()
            run.fails(Key.import_key, name, pkcs8)
        for bad in (pkcs8[:-3], pkcs8[3:], pkcs8 + pkcs8, pkcs8.replace(b"\x02\x01", b"\x02\x7f")):
            run.fails(Key.import_key, "bad", bad)
        with Key.import_key(name, pkcs8, overwrite=True, usage=KeyUsage.DECRYPT) as key:
            run.fails(key.sign, plaintext)
            run.fails(key.export)
    with Key.open("rsa") as key:
        ciphertext = key.encrypt(plaintext)
        key.decrypt(ciphertext)
        run.fails(key.decrypt, ciphertext, hash="SHA1")
        run.fails(key.decrypt, bytes(256))
        run.fails(key.decrypt, plaintext)
    with Key.create("ecdh", "ECDH_P256") as key:
        run.secrets["agreed"] = key.agree(curve.public_key())
        run.secrets["agreed by the other"] = curve.exchange(ec.ECDH(), _public(key))
        run.fails(key.agree, ec.generate_private_key(ec.SECP384R1()).public_key())
    with Key.create("does not agree", "ECDH_P256", usage=KeyUsage.SIGN) as key:
        run.fails(key.agree, curve.public_key())
    with Key.create("does not encrypt", "AES", usage=KeyUsage.SIGN) as key:
        run.fails(key.encrypt, plaintext)
    with Key.create("exportable", "ECDSA_P256", export_policy=ExportPolicy.PLAINTEXT) as key:
        generated = serialization.load_der_private_key(key.export(), None)
        assert isinstance(generated, ec.EllipticCurvePrivateKey)
        value = generated.private_numbers().private_value
        run.secrets["generated"] = value.to_bytes(32, "big")
        key.delete()
        run.fails(key.sign, plaintext)
    with Key.create(None, "ECDSA_P256") as key:
        key.sign(plaintext)
        run.fails(key.sign_digest, b"")


def _use_passwords(run: Run) -> None:
    password = "canary password " + os.urandom(16).hex()
    run.secrets["password"] = password.encode()
    curve = ec.generate_private_key(ec.SECP256R1())
    run.secrets["encrypted"] = curve.private_numbers().private_value.to_bytes(32, "big")
    pkcs8 = _pkcs8(curve, serialization.BestAvailableEncryption(password.encode()))
    with Key.import_key(
        "with password", pkcs8, password=password, export_policy=ExportPolicy.ENCRYPTED
    ) as key:
        key.export(password=password)
        run.fails(key.export)
        run.fails(key.export, password=password * 100)
    run.fails(Key.import_key, "wrong", pkcs8, password=password + "!")
    run.fails(Key.import_key, "wrong", pkcs8[:-1], password=password)
    run.fails(Key.import_key, "wrong", _pkcs8(curve), password=password)
    with Key.create("not exportable", "RSA") as key:
        run.fails(key.export, password=password)


def _use_symmetric_keys(run: Run) -> None:
    value = run.secrets["AES"] = os.urandom(32)
    plaintext = run.secrets["plaintext"]
    provider = ncrypt.NCryptOpenStorageProvider()
    key = ncrypt.NCryptImportKey(provider, None, "KeyDataBlob", None, AES_HEADER + value)
    mode = ncrypt.BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(b"n" * 12, bytearray(16))
    info = ncrypt.NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode)
    ciphertext = ncrypt.NCryptEncrypt(key, plaintext, info, NCRYPT_PAD_CIPHER_FLAG)
    ncrypt.NCryptDecrypt(key, ciphertext, info, NCRYPT_PAD_CIPHER_FLAG)
    mode.pbTag[0] ^= 1
    run.fails(ncrypt.NCryptDecrypt, key, ciphertext, info, NCRYPT_PAD_CIPHER_FLAG)
    run.fails(ncrypt.NCryptDecrypt, key, plaintext, info, NCRYPT_PAD_CIPHER_FLAG)
    run.fails(ncrypt.NCryptExportKey, key, None, "KeyDataBlob")
    for bad in (AES_HEADER + value[:-1], value, AES_HEADER[:4] + value):
        run.fails(ncrypt.NCryptImportKey, provider, None, "KeyDataBlob", None, bad)
    ncrypt.NCryptFreeObject(key)


def _use_the_wire(run: Run) -> None:
    """Frames that make no sense, full of a secret; and the secret that opens ephemeral keys."""
    group = run.secrets["client group"] = os.urandom(16)
    plaintext = run.secrets["plaintext"]
    path = run.instance.instance.control_socket
    with RawClient.bound(path, group) as client:
        blob = client.call(CreateKey(terms())).blob
        channel, attached = client.attach()
        for refused in (blob[:-1], blob[:40] + plaintext, plaintext):
            opening = OpenEphemeral(refused, attached.channel_id, attached.worker_instance)
            run.errors.append(repr(client.call(opening)))
        for connection in (client, channel):
            connection.send(frame(plaintext))
            run.errors.append(repr(connection.receive()))
    for body in (
        [3, 1, [1, plaintext, plaintext.hex()], plaintext.hex(), []],
        [1, 1, 1, plaintext.hex()],
    ):
        with RawClient.at(path) as client:
            client.send(message(body))
            run.errors.append(repr(client.receive()))
    for worker in run.instance.instance.workers.glob("software-*.sock"):
        with RawClient.at(worker) as link:
            link.hello()
            run.errors.append(repr(link.call(Authenticate(plaintext))))
            link.send(frame(plaintext))
            run.errors.append(repr(link.receive()))


def _wait_for_batches(run: Run, name: str) -> None:
    """One thread uses one worker: when its last failure is recorded, all others are."""
    with Key.create(name, "ED25519", usage=KeyUsage.DECRYPT) as last:
        run.fails(last.sign, b"")
    run.instance.event(event_id=1, name=name)


def _lose_services(run: Run) -> None:
    """What comes back after a kill may say things that nothing else says."""
    _wait_for_batches(run, "before the restart")
    with Key.open("p256") as key, Key.create(None, "ECDSA_P256") as ephemeral:
        services = [name for name in run.instance.pids() if name != "supervisor"]
        run.instance.kill(*services)
        run.fails(key.sign, run.secrets["plaintext"])
        ephemeral.sign(run.secrets["plaintext"])
    run.fails(Key.open, "nobody")


def _read_roots(run: Run) -> None:
    instance = run.instance.instance
    boot, *_ = instance.software_boot_roots.iterdir()
    for name, path in (("machine root", instance.software_machine_root), ("boot root", boot)):
        _, _, secret, _ = msgspec.msgpack.decode(path.read_bytes()[1:])
        assert len(secret) == 32
        run.secrets[name] = secret


def _pkcs8(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    encryption: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    return private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def _public(key: Key) -> ec.EllipticCurvePublicKey:
    public = key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


# --- the search --------------------------------------------------------------------------------


def test_no_secret_is_where_people_read(run: Run) -> None:
    places = run.places()

    assert set(places) == {
        *("events.jsonl", "channels", "what the services print", "journal", "errors", "trace")
    }
    assert all(places.values())
    assert len(run.secrets) >= 14
    assert found(run.secrets, places) == set()


def test_everything_that_can_fail_has_failed(run: Run) -> None:
    """A run that did nothing would find nothing."""
    lines = run.instance.events()

    assert {line["event_id"] for line in lines} >= {1, 3, 4, 9, 11, 21, 22, 1000}
    functions = {line["function"] for line in lines if line["event_id"] == 1}
    assert functions == {"Sign", "Decrypt", "Encipher", "Decipher", "Derive", "ExportPrivate"}
    assert len(run.errors) > 50


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_a_secret_in_every_form(run: Run, form: str) -> None:
    secret = run.secrets["P-256"]
    planted = b"before" + FORMS[form](secret[5 : 5 + PIECE_BYTES]) + b"after"
    seen = found({"P-256": secret}, {**run.places(), "planted": planted})

    assert ("P-256", "planted", form) in seen
    assert {place for _, place, _ in seen} == {"planted"}


def test_the_search_finds_a_secret_that_is_a_number(run: Run) -> None:
    number = str(int.from_bytes(run.secrets["RSA d"], "big")).encode()

    assert found(run.secrets, {"planted": number}) == {("RSA d", "planted", "number, big-endian")}


def test_the_search_finds_what_really_got_there(run: Run, tmp_path: Path) -> None:
    """A secret as a key's name, which an error, the log and the journal show; and on a socket
    that the services would print.
    """
    canary = {"canary": os.urandom(24)}
    assert found(canary, run.places()) == set()
    run.fails(Key.open, canary["canary"].hex())
    run.instance.event(name=canary["canary"].hex())
    run.instance.sent += run.instance.journal.wait(1)
    with run.instance.instance.log.open("ab") as printed:
        printed.write(b"unexpected: " + canary["canary"].hex().encode() + b"\n")

    assert {place for _, place, _ in found(canary, run.places())} == {
        "events.jsonl",
        "what the services print",
        "journal",
        "errors",
        "trace",
    }
