"""A Python with keyiso that every user of the machine can run.

The one that runs the tests may lie in somebody's home. Services that drop their rights, and
clients of other users, need an interpreter and packages that they can read.
"""

import os
import shutil
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("keyiso", "cryptography", "msgspec", "cffi", "_cffi_backend")
"""keyiso and what it imports, but for the command line."""

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = Path("lib", VERSION, "site-packages")
"""Under the prefix of an environment, or of what a user has installed."""


class Unreadable(Exception):
    """No such tree can be made here; the message says why."""


def make_tree(directory: Path, *extra: Path) -> Path:
    """The interpreter of a new environment in an empty directory, with some more modules in it.

    Raises `Unreadable`.
    """
    directory.chmod(0o755)
    _check_readable(directory)
    subprocess.run(
        [interpreter(), "-I", "-m", "venv", "--without-pip", directory], check=True, timeout=60
    )
    copy_packages(directory / SITE, *extra)
    return directory / "bin" / "python"


def copy_packages(packages: Path, *extra: Path) -> None:
    """Put keyiso and what it needs, and some more modules, into a directory for packages.

    Raises `Unreadable`.
    """
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise Unreadable(f"the package {name} is not installed")
        if spec.submodule_search_locations:
            source = Path(spec.origin).parent
            shutil.copytree(
                source, packages / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi")
            )
        else:
            shutil.copy(spec.origin, packages)
    for module in extra:
        shutil.copy(module, packages)
    for path in packages.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def interpreter() -> str:
    """An interpreter of this very version that others can execute: ours, or the system's.

    Raises `Unreadable`.
    """
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{VERSION}"):
        if os.path.exists(candidate) and _readable_by_others(Path(candidate)):
            return candidate
    raise Unreadable(f"no {VERSION} that other users can execute: {sys.executable} is not one")


def _check_readable(path: Path) -> None:
    if not _readable_by_others(path):
        raise Unreadable(f"other users cannot pass through {path}")


def _readable_by_others(path: Path) -> bool:
    resolved = path.resolve()
    return all(
        part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents)
    ) and bool(resolved.stat().st_mode & stat.S_IROTH)
