"""Which machine this is, without saying which."""

import hashlib
import hmac
from pathlib import Path

from keyiso.backup.manifest import MACHINE_BYTES

_MACHINE_ID = Path("/etc/machine-id")


def machine_hash(path: Path = _MACHINE_ID) -> bytes:
    """Tells this machine from others, after a reboot too; empty where it has no id.

    The id itself is confidential (machine-id(5)) and is not what is returned.
    """
    try:
        machine_id = path.read_bytes().strip()
    except OSError:
        return b""
    if not machine_id:
        return b""
    return hmac.digest(machine_id, b"keyiso backup", hashlib.sha256)[:MACHINE_BYTES]
