"""Running services that are attacked: a software worker and a pair, each with keys that were
imported and one that was generated there.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa

from keyiso import Key, Protection
from keyiso.paths import Instance
from keyiso.router import process_router
from tests.attack.planted import Planted, pkcs8, plant
from tests.attack.target import Kind, Target, wait_until
from tests.instance import RunningInstance

DATA = b"data"

LEVELS: tuple[Kind, ...] = ("software", "vbs")


@dataclass(frozen=True)
class Keys:
    """Stored keys of one level, and open handles to them."""

    planted: Planted
    imported: tuple[Key, Key]
    generated: Key

    @property
    def modulus(self) -> int:
        """Of the generated key, of which nothing else is known."""
        public = self.generated.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        return public.public_numbers().n


class Services:
    """One instance, which this process uses: one worker and one generator of each level."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running = RunningInstance(directory / "home", ("--workers=1",))
        self._before = os.environ.get("KEYISO_HOME")

    def __enter__(self) -> Self:
        os.environ["KEYISO_HOME"] = str(self.running.home)
        process_router.cache_clear()
        self.running.start()
        self.keys = {kind: make_keys(kind) for kind in LEVELS}
        return self

    def __exit__(self, *exception: object) -> None:
        runtime = self.instance.runtime
        self.running.end()
        shutil.rmtree(runtime, ignore_errors=True)
        process_router.cache_clear()
        if self._before is None:
            del os.environ["KEYISO_HOME"]
        else:
            os.environ["KEYISO_HOME"] = self._before

    @property
    def instance(self) -> Instance:
        return self.running.instance

    def target(self, kind: Kind) -> "Served":
        """The worker that now has the keys of a level."""
        served = Served(self, kind)
        served.use_keys()
        served.find()
        return served

    def pids(self) -> dict[str, int]:
        """Every process by its service. A guardian has its name, and its worker ``NAME worker``."""
        status = self.running.status()
        pids = {"supervisor": status.pid}
        for one in status.processes:
            pids[one.service] = one.pid
            pids[f"{one.service} worker"] = one.worker_pid
        return {name: pid for name, pid in pids.items() if pid}

    def blob(self, name: str) -> bytes:
        """What is stored of a key."""
        with self.store() as store:
            query = "SELECT blob FROM keys WHERE name = ?"
            ((blob,),) = store.execute(query, (name.encode("utf-16-le"),))
        return bytes(blob)

    def kill_keyiso(self) -> None:
        """SIGKILL to the KeyIso service, as soon as it runs."""
        assert wait_until(lambda: "keyiso" in self.pids())
        self.running.kill("keyiso")

    @contextlib.contextmanager
    def store(self) -> Iterator[sqlite3.Connection]:
        """The database, to be edited behind the KeyIso service's back."""
        with contextlib.closing(sqlite3.connect(self.instance.store)) as store, store:
            yield store


class Served(Target):
    """The worker of a level."""

    def __init__(self, services: Services, kind: Kind) -> None:
        self.services = services
        self.kind = kind
        self.directory = services.directory
        self.keys = services.keys[kind]
        self.planted = self.keys.planted

    def find(self) -> None:
        """Which processes serve it now."""
        pids = self.services.pids()
        name = f"{self.kind}-0"
        self.worker = pids.get(f"{name} worker", pids[name])
        self.guardian = pids[name] if self.kind == "vbs" else 0

    def use_keys(self) -> None:
        for key in (*self.keys.imported, self.keys.generated):
            key.sign(DATA)

    def be_patient(self, seconds: float) -> None:
        """As all clients are: until another worker has taken over."""


def protection(kind: Kind) -> dict[str, bool | Protection]:
    """What a stored key of this level is asked for with; no TPM is enrolled here."""
    if kind == "vbs":
        return {"protection": Protection.REQUIRE_VBS, "per_boot": True}
    return {}


def imported_name(kind: Kind, algorithm: str) -> str:
    """Long enough to be searched for."""
    return f"{kind} {algorithm} imported"


def make_keys(kind: Kind) -> Keys:
    planted = plant(b"", b"")
    imported = tuple(
        Key.import_key(imported_name(kind, name), pkcs8(key), **protection(kind))  # type: ignore[arg-type]
        for name, key in (("RSA", planted.rsa_key), ("EC", planted.ec_key))
    )
    generated = Key.create(f"{kind} generated", "RSA", **protection(kind))  # type: ignore[arg-type]
    assert len(imported) == 2
    return Keys(planted, (imported[0], imported[1]), generated)
