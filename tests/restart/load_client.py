"""A client under load.

``python -m tests.restart.load_client LEVEL NUMBER SEED SCOREBOARD CLIENTS``

It works with handles that it opened once, makes and deletes keys under names of its own, and
checks every signature against the public key that it first saw. When it is told to stop it
prints, as JSON, what it did, what failed, and which keys of its own must exist.
"""

import hashlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from keyiso import Key, NCryptError
from keyiso.crypto.key_header import Level
from keyiso.crypto.key_types import PublicKey
from tests.restart.keyring import Keyring
from tests.restart.scoreboard import Doing, Scoreboard

SHARED_KEYS = {"shared-p256": "ECDSA_P256", "shared-rsa": "RSA"}
KEPT_KEYS = 20


class Client:
    """Handles that are never opened again, and keys of its own that come and go."""

    def __init__(self, level: Level, number: int, seed: int, board: Scoreboard) -> None:
        self.failures: list[str] = []
        self.wrong_keys = 0
        self.operations = 0
        self._ring = Keyring(level)
        self._number = number
        self._random = random.Random(seed)
        self._board = board
        self._made = 0
        self.own: dict[str, str] = {}
        self._handles = {name: Key.open(name) for name in SHARED_KEYS}
        self._handles["ephemeral"] = self._ring.create(None, "ECDSA_P256")
        self._public = {name: key.public_key() for name, key in self._handles.items()}

    def run(self) -> None:
        choices: list[tuple[int, Doing, Callable[[], None]]] = [
            (50, Doing.WORKER, lambda: self._sign("shared-p256")),
            (15, Doing.WORKER, lambda: self._sign("shared-rsa")),
            (15, Doing.WORKER, lambda: self._sign("ephemeral")),
            (10, Doing.KEYISO, self._open),
            (10, Doing.KEYISO, self._create),
            (6, Doing.KEYISO, self._delete),
            (4, Doing.KEYISO, self._overwrite),
            (2, Doing.KEYISO, self._new_ephemeral),
        ]
        weights = [weight for weight, _, _ in choices]
        while not self._board.stopped:
            (_, doing, work), *_ = self._random.choices(choices, weights)
            self._board.note(self._number, self.operations, doing)
            try:
                work()
            except NCryptError as error:
                self.failures.append(f"{getattr(work, '__name__', 'work')}: {error}")
            except InvalidSignature:
                self.wrong_keys += 1
            self.operations += 1
            self._board.note(self._number, self.operations, Doing.NOTHING)

    def _sign(self, name: str) -> None:
        digest = hashlib.sha256(self._random.randbytes(32)).digest()
        key = self._handles[name]
        check(self._public[name], digest, key.sign_digest(digest))

    def _open(self) -> None:
        name = self._random.choice(sorted(SHARED_KEYS))
        with Key.open(name) as key:
            if key.public_key() != self._public[name]:
                self.wrong_keys += 1

    def _create(self) -> None:
        if len(self.own) >= KEPT_KEYS:
            return self._delete()
        self._made += 1
        name = f"client-{self._number}-{self._made}"
        with self._ring.create(name, "ECDSA_P256") as key:
            self.own[name] = key.unique_name

    def _overwrite(self) -> None:
        if not self.own:
            return
        name = self._random.choice(sorted(self.own))
        with self._ring.create(name, "ECDSA_P384", overwrite=True) as key:
            self.own[name] = key.unique_name

    def _delete(self) -> None:
        if not self.own:
            return
        name = self._random.choice(sorted(self.own))
        Key.open(name).delete()
        del self.own[name]

    def _new_ephemeral(self) -> None:
        self._handles["ephemeral"].close()
        key = self._handles["ephemeral"] = self._ring.create(None, "ECDSA_P256")
        self._public["ephemeral"] = key.public_key()


def check(public: PublicKey, digest: bytes, signature: bytes) -> None:
    """Verify with `cryptography` alone."""
    sha256 = utils.Prehashed(hashes.SHA256())
    if isinstance(public, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        public.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(sha256))
    elif isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), sha256)


def main() -> None:
    level, number, seed, path, clients = sys.argv[1:]
    board = Scoreboard(Path(path), int(clients))
    client = Client("vbs" if level == "vbs" else "software", int(number), int(seed), board)
    print("ready", flush=True)
    client.run()
    report = {
        "operations": client.operations,
        "failures": client.failures,
        "wrong_keys": client.wrong_keys,
        "own": client.own,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
