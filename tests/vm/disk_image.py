"""The disk of a guest: the part of this machine's file system that keyiso runs from.

Interpreter, standard library, packages and checkout are where they are on this machine, so that
nothing needs to be moved or installed. A shell and little else come from busybox.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.vm.requirement import program

_CHECKOUT = Path(__file__).parents[2]
_GUEST = Path(__file__).with_name("guest")
_ROOM_BYTES = 128 << 20
"""What the guest may write, and the file system's own needs."""

_NOT_NEEDED = shutil.ignore_patterns(
    *("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "config-*"),
    *("_tkinter*", "_test*", "*.pyi"),
    *("mypy", "mypyc", "*__mypyc*", "ruff*", "pip", "site-packages", "dist-packages"),
    # These would be imported, by site and by msgspec, and are not there where only keyiso is.
    *("setuptools", "pkg_resources", "distutils-precedence.pth", "typing_extensions.py"),
)
_USERS = {
    "root": 0,
    "tss": 101,
    "keyiso": 102,
    "keyiso-trustlet": 103,
    "keyiso-passport": 104,
    "alice": 1000,
}
_LIBRARY = re.compile(r"(/\S+) \(0x")


def make_disk_image(directory: Path) -> Path:
    """A new image, in a directory that also holds what it is made of. Raises
    ``CalledProcessError``."""
    tree = Tree(directory / "tree")
    tree.bring_interpreter()
    tree.bring_checkout()
    tree.bring_libraries()
    tree.add_system()
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(tree.bytes() * 5 // 4 + _ROOM_BYTES)
    subprocess.run(
        [program("mkfs.ext4"), "-q", "-F", "-E", "root_owner=0:0", "-d", tree.root, image],
        check=True,
        timeout=60,
    )
    return image


class Tree:
    """The guest's files, in a directory of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "var/lib"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)

    def bring(self, path: Path) -> None:
        """Copy a file or directory to the same place. A link comes with what it leads to."""
        target = self._place(path)
        if os.path.lexists(target):
            return
        if path.is_symlink():
            target.symlink_to(os.readlink(path))
            self.bring(Path(os.path.normpath(path.parent / os.readlink(path))))
        elif path.is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=_NOT_NEEDED)
        else:
            shutil.copy2(path, target)

    def bring_interpreter(self) -> None:
        """Python and its library, and the environment that it runs in."""
        self.bring(Path(sys.executable))
        self.bring(Path(os.path.realpath(sys.executable)))
        for name in ("stdlib", "platstdlib"):
            self.bring(Path(sysconfig.get_path(name, vars={"platbase": sys.base_exec_prefix})))
        if sys.prefix != sys.base_prefix:
            self.bring(Path(sys.prefix, "pyvenv.cfg"))
            self.bring(Path(sysconfig.get_path("scripts"), "keyiso"))
        for name in ("purelib", "platlib"):
            self.bring(Path(sysconfig.get_path(name)))

    def bring_checkout(self) -> None:
        """keyiso, which the environment finds in its checkout, and the tests."""
        for name in ("src", "tests", "pyproject.toml"):
            self.bring(_CHECKOUT / name)
        packages = [self._place(_CHECKOUT / name) for name in ("src", "tests")]
        subprocess.run(
            [sys.executable, "-I", "-m", "compileall", "-q", "-s", self.root, "-p", "/", *packages],
            check=True,
            timeout=120,
        )

    def bring_libraries(self) -> None:
        """The shared libraries that any of the programs and modules needs."""
        binaries = [Path(os.path.realpath(sys.executable)), *self.root.rglob("*.so*")]
        told = subprocess.run(
            ["ldd", *binaries], capture_output=True, text=True, timeout=60, env={"LC_ALL": "C"}
        )
        for name in sorted(set(_LIBRARY.findall(told.stdout))):
            target = self._place(Path(name))
            if not target.exists():
                shutil.copy(name, target)

    def add_system(self) -> None:
        """What makes it a system: users, a shell, and what runs at boot."""
        etc = self.root / "etc"
        homes = {name: "/root" if name == "root" else "/tmp" for name in _USERS}
        _write(
            etc / "passwd",
            (f"{name}:x:{uid}:{uid}::{homes[name]}:/bin/sh" for name, uid in _USERS.items()),
        )
        _write(etc / "group", (f"{name}:x:{gid}:" for name, gid in _USERS.items()))
        for name in ("inittab", "rc", "keyiso-service", "agent.py"):
            text = (_GUEST / name).read_text(encoding="utf-8")
            (etc / name).write_text(text.replace("@PYTHON@", sys.executable), encoding="utf-8")
            (etc / name).chmod(0o755)
        busybox = self.root / "bin" / "busybox"
        shutil.copy(program("busybox"), busybox)
        for applet in subprocess.run(
            [busybox, "--list-full"], check=True, capture_output=True, text=True, timeout=60
        ).stdout.split():
            link = self.root / applet
            link.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(link):
                link.symlink_to("/bin/busybox")
        for path in self.root.rglob("*"):
            if not path.is_symlink() and path != self.root / "tmp":
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))

    def bytes(self) -> int:
        """How much room the files take."""
        return sum(path.lstat().st_blocks * 512 for path in self.root.rglob("*"))

    def _place(self, path: Path) -> Path:
        target = self.root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _write(path: Path, lines: Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
