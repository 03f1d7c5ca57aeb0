"""``python -m bench.tpm /dev/tpmrm0``, or swtpm's data socket: how long a TPM takes.

Keys that the TPM holds are compared with keys of `cryptography` in this process. Nothing stays in
the TPM, and no PCR is extended.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from msgspec.structs import replace

from keyiso.clock import SystemClock
from keyiso.tpm.constants import TPM_ALG, TPM_ECC, TPMA_OBJECT
from keyiso.tpm.held import HeldObject, held_object, held_session
from keyiso.tpm.latch import LATCH_PCR, pcr_state, read_pcrs
from keyiso.tpm.object_commands import TPM2_Create, TPM2_RSA_Decrypt, TPM2_Sign
from keyiso.tpm.public_area import (
    NO_CIPHER,
    NO_SCHEME,
    TPMS_ECC_PARMS,
    TPMS_RSA_ID,
    TPMS_RSA_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SCHEME,
)
from keyiso.tpm.sealed_root import seal_machine_root, unseal_root
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.templates import SRK_TEMPLATES
from keyiso.tpm.ticket import NULL_HASHCHECK
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.transport import Transport, connect, open_device

DIGEST = bytes(32)
SHA256 = TPMS_SCHEME_HASH(TPM_ALG.SHA256)
_KEY = (
    TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.sensitiveDataOrigin
    | TPMA_OBJECT.userWithAuth
    | TPMA_OBJECT.noDA
)
SIGNING_KEY = replace(
    SRK_TEMPLATES[TPM_ALG.ECC],
    object_attributes=_KEY | TPMA_OBJECT.sign,
    parameters=TPMS_ECC_PARMS(NO_CIPHER, NO_SCHEME, TPM_ECC.NIST_P256, NO_SCHEME),
)
DECRYPTING_KEY = replace(
    SRK_TEMPLATES[TPM_ALG.RSA],
    object_attributes=_KEY | TPMA_OBJECT.decrypt,
    parameters=TPMS_RSA_PARMS(NO_CIPHER, NO_SCHEME, 2048, 0),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tpm")
    parser.add_argument("tpm", type=Path, help="a TPM's device, or swtpm's data socket")
    parser.add_argument("--times", type=int, default=30)
    options = parser.parse_args()
    with _transport(options.tpm) as transport:
        tpm = Tpm(transport, SystemClock())
        for name, operation in _operations(tpm):
            print(f"{name:<40}{_median_ms(operation, options.times):>10.2f} ms", flush=True)
    return 0


def _transport(path: Path) -> contextlib.AbstractContextManager[Transport]:
    return connect(path) if path.is_socket() else open_device(path)


def _operations(tpm: Tpm) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each is measured before the next one is made: what it needs is loaded for so long."""
    for algorithm in SRK_TEMPLATES:
        srk = enrol_srk(tpm, algorithm)
        root = seal_machine_root(tpm, DIGEST, srk, pcr_state(read_pcrs(tpm, [LATCH_PCR])))
        yield f"unseal a root, SRK {algorithm.name}", partial(unseal_root, tpm, root)
    with held_srk(tpm, enrol_srk(tpm)) as parent:
        yield from _signing(tpm, parent)
        yield from _decrypting(tpm, parent)


def _signing(tpm: Tpm, parent: HeldObject) -> Iterator[tuple[str, Callable[[], object]]]:
    with made_key(tpm, parent, SIGNING_KEY) as key, held_session(tpm, parent) as session:
        sign = signing_command(key)
        yield "P-256, TPM2_Sign", lambda: tpm.run(sign, EmptyPassword())
        yield "P-256, TPM2_Sign in a session", lambda: tpm.run(sign, session.authorize())
    own = ec.generate_private_key(ec.SECP256R1())
    ecdsa = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    yield "P-256, in process", lambda: own.sign(DIGEST, ecdsa)


def _decrypting(tpm: Tpm, parent: HeldObject) -> Iterator[tuple[str, Callable[[], object]]]:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    with made_key(tpm, parent, DECRYPTING_KEY) as key:
        assert isinstance(key.public.unique, TPMS_RSA_ID)
        modulus = int.from_bytes(key.public.unique.modulus)
        ciphertext = rsa.RSAPublicNumbers(65537, modulus).public_key().encrypt(DIGEST, oaep)
        decrypt = TPM2_RSA_Decrypt(key.entity, ciphertext, TPMT_SCHEME(TPM_ALG.OAEP, SHA256), b"")
        yield "RSA-2048, TPM2_RSA_Decrypt", lambda: tpm.run(decrypt, EmptyPassword())
    own = rsa.generate_private_key(65537, 2048)
    sealed = own.public_key().encrypt(DIGEST, oaep)
    yield "RSA-2048, in process", lambda: own.decrypt(sealed, oaep)


def signing_command(key: HeldObject) -> TPM2_Sign:
    """A P-256 signature of a hash."""
    scheme = TPMT_SCHEME(TPM_ALG.ECDSA, SHA256)
    return TPM2_Sign(key.entity, DIGEST, scheme, NULL_HASHCHECK)


@contextlib.contextmanager
def made_key(tpm: Tpm, parent: HeldObject, template: TPMT_PUBLIC) -> Iterator[HeldObject]:
    """A new key of the TPM's own, which ends with the block."""
    create = TPM2_Create(parent.entity, TPMS_SENSITIVE_CREATE(), template, b"", ())
    created = tpm.run(create, EmptyPassword())
    with held_object(tpm, parent, created.out_private, created.out_public) as key:
        yield key


def _median_ms(operation: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    sys.exit(main())
