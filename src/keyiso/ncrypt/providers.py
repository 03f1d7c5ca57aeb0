"""Providers, and what they can do."""

from collections.abc import Sequence

from keyiso.function_table import NCryptAlgorithmName, NCryptProviderName
from keyiso.ncrypt._arguments import check_flags, provider_target, reference
from keyiso.router import NCryptProvHandle, process_router


def NCryptOpenStorageProvider(
    pszProviderName: str | None = None, dwFlags: int = 0
) -> NCryptProvHandle:
    """Open a provider; no name is the software provider.

    Raises ``NTE_NOT_FOUND`` for a name that is not registered, ``NTE_PROV_DLL_NOT_FOUND`` and
    ``NTE_PROVIDER_DLL_FAIL`` for an image that is missing or is not a provider.
    """
    return process_router().open_provider(pszProviderName, dwFlags)


def NCryptEnumStorageProviders(dwFlags: int = 0) -> tuple[NCryptProviderName, ...]:
    """Every registered provider."""
    check_flags(dwFlags)
    return process_router().providers()


def NCryptEnumAlgorithms(
    hProvider: NCryptProvHandle, dwAlgOperations: int = 0, dwFlags: int = 0
) -> Sequence[NCryptAlgorithmName]:
    """The provider's algorithms, all or those of some operations (NCRYPT_*_OPERATION)."""
    target = provider_target(hProvider)
    return target.table.enum_algorithms(target.provider, dwAlgOperations, dwFlags)


def NCryptIsAlgSupported(hProvider: NCryptProvHandle, pszAlgId: str, dwFlags: int = 0) -> None:
    """Return when the provider has the algorithm; raises ``NTE_NOT_SUPPORTED`` otherwise."""
    target = provider_target(hProvider)
    target.table.is_alg_supported(target.provider, reference(pszAlgId), dwFlags)
