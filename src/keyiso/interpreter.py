"""Which Python runs a process of keyiso, and what it may import."""

import os
import pwd
import stat
import sys
from pathlib import Path
from typing import Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status

_PACKAGE: Final = Path(__file__).resolve().parent
_STARTER: Final = _PACKAGE / "_from_user_site.py"


def module_command(module: str, *arguments: str, flags: tuple[str, ...] = ("-I",)) -> list[str]:
    """What runs a module of this keyiso as a process of its own.

    With ``-I`` neither the environment nor the working directory changes what is imported. That
    also leaves out what ``pip install --user`` has installed: where this keyiso is there, a script
    of its own adds that one directory. ``flags`` are others for a process whose environment is
    ours and must be read.

    Raises ``KEYISO_E_SERVICE_UNAVAILABLE`` when it is there and may not be started from there.
    """
    if not _is_in_user_site():
        return [sys.executable, *flags, "-m", module, *arguments]
    _check_starter()
    return [sys.executable, *flags, os.fspath(_STARTER), module, *arguments]


def _is_in_user_site() -> bool:
    """This keyiso was installed for this user alone.

    The directory comes from the user database: ``HOME`` and ``PYTHONUSERBASE`` are whose who set
    them.
    """
    import sysconfig  # only who starts a process needs it

    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return False
    site = sysconfig.get_path("purelib", "posix_user", vars={"userbase": f"{home}/.local"})
    return Path(site).resolve() == _PACKAGE.parent


def _check_starter() -> None:
    if os.geteuid() == 0 or os.geteuid() != os.getuid():
        raise _not_from_there("a process with root's rights starts nothing from there")
    for path in (_STARTER, *_STARTER.parents):
        found = path.stat()
        sticky_directory = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()):
            raise _not_from_there(f"{path} belongs to uid {found.st_uid}")
        if found.st_mode & stat.S_IWOTH and not sticky_directory:
            raise _not_from_there(f"everybody may write {path}")


def _not_from_there(why: str) -> Exception:
    return ncrypt_error(
        Status.KEYISO_E_SERVICE_UNAVAILABLE,
        f"keyiso is installed for one user alone, in {_PACKAGE.parent}, and {why}",
        "Install it into a virtual environment, or for the whole system.",
    )
