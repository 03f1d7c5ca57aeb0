"""One handle, two signatures, and everything killed in between."""

import hashlib

import pytest

from keyiso import ncrypt
from tests.instance import RunningInstance

DIGEST = hashlib.sha256(b"first light").digest()


@pytest.mark.parametrize(
    "victims",
    [
        ("keyiso",),
        ("software-0", "software-1", "software-generator"),
        ("keyiso", "software-0", "software-1", "software-generator"),
        ("supervisor",),
    ],
    ids=["keyiso", "workers", "keyiso and workers", "supervisor"],
)
def test_a_handle_outlives_every_process_behind_it(
    instance: RunningInstance, victims: tuple[str, ...]
) -> None:
    provider = ncrypt.NCryptOpenStorageProvider()
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "first")
    ncrypt.NCryptFinalizeKey(key)
    ncrypt.NCryptVerifySignature(key, None, DIGEST, ncrypt.NCryptSignHash(key, None, DIGEST))

    instance.kill(*victims)

    ncrypt.NCryptVerifySignature(key, None, DIGEST, ncrypt.NCryptSignHash(key, None, DIGEST))
