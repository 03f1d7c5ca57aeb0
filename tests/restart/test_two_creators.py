"""Processes that make a key of one name at once: one has it, and everybody is told right."""

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from keyiso import Key, Provider
from tests.instance import RunningInstance

NAME = "wanted by all"
SECONDS = 60

CREATOR = """
import json, sys
from keyiso import NCryptError, ncrypt
from keyiso.flags import NCRYPT_PAD_PKCS1_FLAG
from keyiso.status import status_name

algorithm, name, flags = sys.argv[1], sys.argv[2], int(sys.argv[3])

def step(work):
    "Tell that it can begin, wait until all can, do it, tell what came of it."
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    try:
        print(json.dumps(work()), flush=True)
    except NCryptError as error:
        print(json.dumps(status_name(error.status)), flush=True)

def finalize():
    ncrypt.NCryptFinalizeKey(key)
    return ncrypt.NCryptGetProperty(key, "Unique Name").decode("utf-16-le").rstrip("\\0")

def sign():
    if algorithm == "RSA":
        padding, flag = ncrypt.BCRYPT_PKCS1_PADDING_INFO("SHA256"), NCRYPT_PAD_PKCS1_FLAG
    else:
        padding, flag = None, 0
    signature = ncrypt.NCryptSignHash(key, padding, bytes(32), flag)
    ncrypt.NCryptVerifySignature(key, padding, bytes(32), signature, flag)
    return "signed"

provider = ncrypt.NCryptOpenStorageProvider()
key = ncrypt.NCryptCreatePersistedKey(provider, algorithm, name, 0, flags)
step(finalize)
step(sign)
"""

OVERWRITE = 0x80


@dataclass(frozen=True)
class Outcome:
    """What each process came to: the id of its key, or a status; then what a use of it gave."""

    finalized: list[str]
    used: list[str]

    @property
    def winners(self) -> list[str]:
        """Key ids; statuses have names."""
        return [one for one in self.finalized if not one.startswith("NTE_")]

    def used_by(self, finalized: str) -> str:
        return self.used[self.finalized.index(finalized)]


def race(algorithms: list[str], *flags: int) -> Outcome:
    """All have looked at the name before the first finalizes, and finalized before one signs.

    ``flags`` are given to the creators in turn.
    """
    with contextlib.ExitStack() as stack:
        creators = [
            stack.enter_context(_creator(algorithm, flags[number % len(flags)]))
            for number, algorithm in enumerate(algorithms)
        ]
        return Outcome(_together(creators), _together(creators))


@contextlib.contextmanager
def _creator(algorithm: str, flags: int) -> Iterator["subprocess.Popen[str]"]:
    creator = subprocess.Popen(
        [sys.executable, "-c", CREATOR, algorithm, NAME, str(flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with creator:  # closes the pipes and waits
        yield creator


def _together(creators: "list[subprocess.Popen[str]]") -> list[str]:
    """Let all take the same step, once all are ready for it."""
    for creator in creators:
        assert _told(creator) == "ready"
    for creator in creators:
        assert creator.stdin is not None
        creator.stdin.write("\n")
        creator.stdin.flush()
    return [_told(creator) for creator in creators]


def _told(creator: "subprocess.Popen[str]") -> Any:
    assert creator.stdout is not None
    line = creator.stdout.readline()
    assert line, f"a creator ended with {creator.wait(SECONDS)}"
    return json.loads(line)


def names() -> list[str]:
    with Provider() as provider:
        return [key.pszName for key in provider.keys()]


@pytest.mark.parametrize(
    "algorithms",
    [["ECDSA_P256"] * 6, ["RSA"] * 3, ["ECDSA_P384", "RSA"] * 2],
    ids=["P-256", "RSA", "different ones"],
)
def test_of_many_creators_one_has_the_name(
    instance: RunningInstance, algorithms: list[str]
) -> None:
    outcome = race(algorithms, 0)

    (winner,) = outcome.winners
    assert Counter(outcome.finalized) == {winner: 1, "NTE_EXISTS": len(algorithms) - 1}
    assert outcome.used_by(winner) == "signed"
    assert Counter(outcome.used)["NTE_BAD_KEY_STATE"] == len(algorithms) - 1
    assert names() == [NAME]
    assert Key.open(NAME).unique_name == winner


@pytest.mark.parametrize(
    "algorithms",
    [["ECDSA_P256"] * 8, ["RSA"] * 10, ["RSA", *["ECDSA_P256"] * 5]],
    ids=["P-256", "RSA", "one slow among quick ones"],
)
def test_of_many_overwriters_the_last_has_the_name(
    instance: RunningInstance, algorithms: list[str]
) -> None:
    """However many there are, each gets its turn: overwriting was asked for, and a name that is
    taken is no reason to fail. Every key but the last was replaced, and its handle says so."""
    first = Key.create(NAME, "ECDSA_P256")

    outcome = race(algorithms, OVERWRITE)

    assert len(outcome.winners) == len(set(outcome.winners)) == len(algorithms)
    last = Key.open(NAME).unique_name
    assert outcome.used_by(last) == "signed"
    assert Counter(outcome.used) == {"signed": 1, "NTE_BAD_KEYSET": len(algorithms) - 1}
    assert names() == [NAME]
    assert last != first.unique_name


def test_creators_among_overwriters(instance: RunningInstance) -> None:
    """Who did not ask to overwrite has the name only while nobody else has, and replaces nobody."""
    outcome = race(["ECDSA_P256"] * 8, 0, OVERWRITE)

    creators, overwriters = outcome.finalized[::2], outcome.finalized[1::2]
    assert not any(one.startswith("NTE_") for one in overwriters)
    assert creators.count("NTE_EXISTS") >= len(creators) - 1
    last = Key.open(NAME).unique_name
    assert last in overwriters
    assert Counter(outcome.used)["signed"] == 1
    assert outcome.used_by(last) == "signed"
    assert names() == [NAME]
