"""The software provider as one that isolates every key: what names no protection gets ``vbs``, for
the time of a boot."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from keyiso.flags import NCRYPT_REQUIRE_VBS_FLAG, NCRYPT_USE_PER_BOOT_KEY_FLAG
from keyiso.function_table import KeyStorageFunctionTable, NCryptBuffer
from keyiso.providers import software

ISOLATED = NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG


def get_key_storage_interface(provider_name: str, flags: int) -> KeyStorageFunctionTable:
    """The provider's entry function."""
    table = software.get_key_storage_interface(provider_name, flags)

    def create_persisted_key(
        provider: Any, algorithm: str, name: str | None, key_spec: int, flags: int
    ) -> Any:
        return table.create_persisted_key(provider, algorithm, name, key_spec, flags | ISOLATED)

    def import_key(
        provider: Any,
        key: Any,
        blob_type: str,
        parameters: Sequence[NCryptBuffer],
        data: bytes,
        flags: int,
    ) -> Any:
        return table.import_key(provider, key, blob_type, parameters, data, flags | ISOLATED)

    return dataclasses.replace(
        table, create_persisted_key=create_persisted_key, import_key=import_key
    )
