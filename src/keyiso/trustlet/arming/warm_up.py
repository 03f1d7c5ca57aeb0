"""Doing everything once, while a worker may still open and map what it needs for it.

Python imports late, libraries fetch on first use, locks and buffers come into being. An armed
worker can do none of that from files. So a worker with throw-away keys is served by a loop of its
own, and a client in the same process asks it for every operation with every kind of key.
"""

import contextlib
import gc
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from keyiso import limits
from keyiso.clock import SystemClock
from keyiso.crypto.agreement import Derivation
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm
from keyiso.crypto.ciphers import BLOCK_BYTES, NONCE_BYTES, CipherParameters
from keyiso.crypto.encryption import EncryptionPadding, encrypt_rsa
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_blob import Root
from keyiso.crypto.key_header import KeyHeader
from keyiso.crypto.private_keys import generate_private_key, private_key_bytes
from keyiso.crypto.public_keys import load_public_key
from keyiso.crypto.signatures import NO_PADDING, Padding
from keyiso.errors import NCryptError
from keyiso.flags import (
    BCRYPT_PAD_PKCS1,
    BCRYPT_PAD_PSS,
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_PAD_OAEP_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
)
from keyiso.identifiers import (
    BCRYPT_KDF_HASH,
    BCRYPT_KDF_HKDF,
    BCRYPT_KDF_HMAC,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
)
from keyiso.quotas import Quotas
from keyiso.server.background import Background
from keyiso.server.identity import new_identity
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise, run_coroutine
from keyiso.trustlet.arming.rehearsal import RehearsalClient
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.worker import Worker
from keyiso.wire.channel import (
    Decipher,
    Decrypt,
    Derive,
    Encipher,
    ExportPrivate,
    Ping,
    Release,
    Sign,
)
from keyiso.wire.key_terms import KeyGrant, KeyTerms
from keyiso.wire.link import (
    AddChannel,
    Authenticate,
    ChangeAccess,
    Generate,
    GetWorkerImportKey,
    GetWorkerStatus,
    Import,
    Load,
    OpenProperty,
    RenewLease,
    Reseal,
    ResealProperty,
    Revoke,
    SealProperty,
)

T = TypeVar("T")

_DIGEST: Final = b"d" * 32
_CHANNEL: Final = b"c" * limits.CHANNEL_ID_BYTES
_SECRET_BYTES: Final = 32
_GRANT: Final = KeyGrant((), 1, b"")
_NAME: Final = "name".encode("utf-16-le")
_SHORT_RSA_BITS: Final = ALGORITHMS["RSA"].lengths.minimum
"""Long ones take the same code, and longer."""

_SIGNATURE_PADDINGS: Final = (
    Padding(BCRYPT_PAD_PKCS1, "SHA256"),
    Padding(BCRYPT_PAD_PSS, "SHA256"),
)
_ENCRYPTION_PADDINGS: Final = (
    EncryptionPadding(NCRYPT_PAD_PKCS1_FLAG),
    EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA256"),
)
_CIPHERS: Final = (
    CipherParameters("ChainingModeGCM", b"n" * NONCE_BYTES),
    CipherParameters("ChainingModeCBC", b"n" * BLOCK_BYTES, pad=True),
)


class _AtOnce(Background):
    """Work that is done where it is asked for: a rehearsal starts no thread."""

    def __init__(self) -> None:
        pass

    def run(self, work: Callable[[], T], wanted: Callable[[], bool]) -> Promise[T]:
        promise: Promise[T] = Promise()
        promise.keep(work())
        return promise


def warm_up(background: Background) -> None:
    """Rehearse a worker's whole work, in this thread and in the one beside the loop."""
    loop = Loop(SystemClock())
    machine_root = Root(os.urandom(limits.ROOT_ID_BYTES), "machine", os.urandom(_SECRET_BYTES))
    boot_root = Root(os.urandom(limits.ROOT_ID_BYTES), "boot", os.urandom(_SECRET_BYTES))
    engine = Engine("vbs", machine_root, boot_root)
    worker = Worker(
        loop, new_identity("rehearsal"), engine, os.geteuid(), Quotas(), background=_AtOnce()
    )
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as connected:
        listening.bind("")  # the kernel chooses an abstract address
        listening.listen(1)
        listener = worker.listen(listening)
        connected.connect(listening.getsockname())
        _run(loop, _rehearse(loop, connected))
        for connection in tuple(listener.connections):
            connection.close()
    loop.close()
    _do_beside_the_loop(background, engine)
    gc.collect()
    gc.freeze()  # what is here now stays, and later collections need not look at it


def _run(loop: Loop, coroutine: Coroutine[Promise[Any], None, None]) -> None:
    """Run a loop until a coroutine has ended; raises what it raises."""
    outcomes = []

    def finish(outcome: Callable[[], None]) -> None:
        outcomes.append(outcome)
        loop.stop()

    run_coroutine(coroutine, finish)
    loop.run()
    outcomes[0]()


async def _rehearse(loop: Loop, connected: socket.socket) -> None:
    link = RehearsalClient(loop, connected, limits.CONTROL_FRAME_BYTES)
    await link.greet()
    await link.call(RenewLease())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        await link.call(AddChannel(_CHANNEL, os.geteuid()), theirs.fileno())
        channel = RehearsalClient(loop, ours, limits.KEY_FRAME_BYTES)
        await channel.greet()
        await channel.call(Ping())
        for algorithm in ALGORITHMS.values():
            await _rehearse_key(link, channel, algorithm)
        with contextlib.suppress(NCryptError):  # a failure, with all that it needs
            await channel.call(Sign(0, _DIGEST, NO_PADDING))
        await link.call(GetWorkerStatus())
        channel.close()


async def _rehearse_key(
    link: RehearsalClient, channel: RehearsalClient, algorithm: Algorithm
) -> None:
    made = await link.call(Generate(_terms(algorithm.name), _GRANT))
    sealed = await link.call(ChangeAccess(made.blob, ()))
    await link.call(Authenticate(sealed.blob))
    value = (await link.call(SealProperty(sealed.blob, _NAME, b"value"))).value
    await link.call(OpenProperty(sealed.blob, _NAME, value))
    await link.call(Reseal(sealed.blob, sealed.header.root_id))
    await link.call(ResealProperty(sealed.blob, sealed.header.root_id, _NAME, value))
    opened = await link.call(Load(_CHANNEL, os.geteuid(), sealed.blob))
    await _rehearse_use(channel, opened.slot, sealed.header)
    await _rehearse_export_and_import(link, channel, opened.slot, algorithm)
    await channel.call(Release(opened.slot))
    await link.call(Revoke((sealed.header.key_id,)))


async def _rehearse_use(channel: RehearsalClient, slot: int, header: KeyHeader) -> None:
    match ALGORITHMS[header.algorithm].family:
        case "rsa":
            for padding in _SIGNATURE_PADDINGS:
                await channel.call(Sign(slot, _DIGEST, padding))
            public = load_public_key(header.public_key)
            assert isinstance(public, rsa.RSAPublicKey)  # noqa: S101 (for the type checker)
            for scheme in _ENCRYPTION_PADDINGS:
                await channel.call(Decrypt(slot, encrypt_rsa(public, b"m", scheme), scheme))
        case "ecdh":
            for kdf in (BCRYPT_KDF_HASH, BCRYPT_KDF_HMAC, BCRYPT_KDF_HKDF):
                await channel.call(Derive(slot, header.public_key, Derivation(kdf, (), 0, 0)))
        case "aes":
            for mode in _CIPHERS:
                ciphertext = (await channel.call(Encipher(slot, b"m", mode))).value
                await channel.call(Decipher(slot, ciphertext, mode))
        case _:
            await channel.call(Sign(slot, _DIGEST, NO_PADDING))


async def _rehearse_export_and_import(
    link: RehearsalClient, channel: RehearsalClient, slot: int, algorithm: Algorithm
) -> None:
    with contextlib.suppress(NCryptError):  # no vbs key leaves, which is to be said
        await channel.call(ExportPrivate(slot, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, b""))
    if algorithm.family == "aes":
        value, terms = os.urandom(algorithm.lengths.default // 8), _terms("AES", bits=0)
    else:
        foreign = generate_private_key(algorithm, _terms(algorithm.name).bits)
        value, terms = private_key_bytes(foreign), _terms("", bits=0)
    worker_key = (await link.call(GetWorkerImportKey())).public_key
    await link.call(Import(terms, _GRANT, seal_import(value, worker_key, terms)))


def _terms(algorithm: str, *, bits: int | None = None) -> KeyTerms:
    if bits is None:
        bits = _SHORT_RSA_BITS if algorithm == "RSA" else ALGORITHMS[algorithm].lengths.default
    return KeyTerms(
        operation_id=b"o" * limits.OPERATION_ID_BYTES,
        provider="rehearsal",
        scope="user",
        owner=os.geteuid(),
        name=_NAME,
        lifetime="persisted",
        algorithm=algorithm,
        bits=bits,
        usage=NCRYPT_ALLOW_ALL_USAGES,
        export_policy=0,
        overwrite=False,
        level="vbs",
    )


def _do_beside_the_loop(background: Background, engine: Engine) -> None:
    """The same code has more to do in a thread that has not run it yet."""
    done = threading.Event()

    def work() -> None:
        try:
            engine.generate(_terms("RSA"), _GRANT)
        finally:
            done.set()

    background.run(work, lambda: True)
    done.wait()
