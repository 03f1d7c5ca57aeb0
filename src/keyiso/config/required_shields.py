"""What an instance requires of keys that require ``vbs``.

It stands in ``keyiso.toml``, in any of the configuration directories:

    [isolation]
    require = ["vbs", "tpm", "latched", "bpf-lsm"]

What armed workers always have (``vbs``), and the TPM for stored keys (``tpm``), is required whether
it stands there or not, and what one file requires no other one takes back.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from keyiso.config.file import ConfigFile, read_config_file
from keyiso.required_shields import BPF_LSM, LATCHED, RequiredShields

FILE_NAME: Final = "keyiso.toml"

_ALWAYS: Final = ("vbs", "tpm")
_KNOWN: Final = (*_ALWAYS, LATCHED, BPF_LSM)


def read_required_shields(directories: Iterable[Path]) -> RequiredShields:
    """What the files in these directories say together.

    Raises ``NTE_INVALID_PARAMETER`` for a file that cannot be read, or says what cannot be.
    """
    required: dict[str, Path] = {}
    for directory in directories:
        file = read_config_file([directory], FILE_NAME, "docs/isolation.md", ("isolation",))
        if file is not None:
            required = dict.fromkeys(_names(file), file.path) | required
    return RequiredShields(required)


def _names(file: ConfigFile) -> Iterable[str]:
    names = file.table("isolation", ("require",)).get("require", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise file.wrong("'require' is a list of names")
    if unknown := set(names) - set(_KNOWN):
        raise file.wrong(f"'{min(unknown)}' is none of {', '.join(_KNOWN)}")
    return sorted(set(names) - set(_ALWAYS))
