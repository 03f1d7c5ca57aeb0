"""What an instance requires of keys that require ``vbs``.

It stands in ``keyiso.toml``, in the first of the configuration directories that has one:

    [isolation]
    require = ["vbs", "tpm", "latched", "bpf-lsm"]

What armed workers always have (``vbs``), and the TPM for stored keys (``tpm``), is required whether
it stands there or not.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from keyiso.config_file import read_config_file
from keyiso.required_shields import BPF_LSM, LATCHED, RequiredShields

FILE_NAME: Final = "keyiso.toml"

_ALWAYS: Final = ("vbs", "tpm")
_KNOWN: Final = (*_ALWAYS, LATCHED, BPF_LSM)


def read_required_shields(directories: Iterable[Path]) -> RequiredShields:
    """What the first directory that has the file says; nothing where none has.

    Raises ``NTE_INVALID_PARAMETER`` for a file that cannot be read, or says what cannot be.
    """
    file = read_config_file(directories, FILE_NAME, "docs/isolation.md", ("isolation",))
    if file is None:
        return RequiredShields()
    required = file.table("isolation", ("require",)).get("require", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise file.wrong("'require' is a list of names")
    if unknown := set(required) - set(_KNOWN):
        raise file.wrong(f"'{min(unknown)}' is none of {', '.join(_KNOWN)}")
    return RequiredShields(frozenset(required) - set(_ALWAYS), file.path)
