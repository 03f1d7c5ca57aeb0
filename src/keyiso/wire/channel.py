"""What an application asks of the trustlet worker that holds its loaded keys."""

from typing import Final

from keyiso.crypto.agreement import Derivation
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.signatures import Padding
from keyiso.wire.messages import Operation, Result
from keyiso.wire.results import Done


class Signature(Result, frozen=True, array_like=True):
    value: bytes


class Signatures(Result, frozen=True, array_like=True):
    values: tuple[bytes, ...]
    """Of the first hashes, at least one: as many as there was time for."""


class Output(Result, frozen=True, array_like=True):
    """What an operation with a key gave."""

    value: bytes


class Ping(Operation[Done], frozen=True, array_like=True, tag=1):
    """Nothing: the cost of a call."""


class Sign(Operation[Signature], frozen=True, array_like=True, tag=2):
    slot: int
    digest: bytes
    padding: Padding


class Release(Operation[Done], frozen=True, array_like=True, tag=3):
    slot: int


class Decrypt(Operation[Output], frozen=True, array_like=True, tag=4):
    """RSA."""

    slot: int
    ciphertext: bytes
    padding: EncryptionPadding


class Derive(Operation[Output], frozen=True, array_like=True, tag=5):
    """A key from the secret that this key and another one agree on."""

    slot: int
    peer: bytes
    """The other public key: DER SubjectPublicKeyInfo."""
    derivation: Derivation


class Encipher(Operation[Output], frozen=True, array_like=True, tag=6):
    """AES."""

    slot: int
    message: bytes
    parameters: CipherParameters


class Decipher(Operation[Output], frozen=True, array_like=True, tag=7):
    slot: int
    ciphertext: bytes
    parameters: CipherParameters


class ExportPrivate(Operation[Output], frozen=True, array_like=True, tag=8):
    """The private key, as far as its export policy allows."""

    slot: int
    blob_type: str
    password: bytes
    """UTF-8, for an encrypted PKCS #8 key; empty for one in the clear."""


BATCH_FEATURE: Final = "sign-batch"
"""A worker of an older version would hang up on `SignBatch`."""


class SignBatch(Operation[Signatures], frozen=True, array_like=True, tag=9):
    """`Sign` for several hashes, of a worker that says `BATCH_FEATURE` in its welcome."""

    slot: int
    digests: tuple[bytes, ...]
    """1 to ``DIGESTS_PER_BATCH``."""
    padding: Padding


ChannelOperation = (
    Ping | Sign | Release | Decrypt | Derive | Encipher | Decipher | ExportPrivate | SignBatch
)
