"""Roots are made by one pair of a boot, and the others ask those that have them."""

from collections.abc import Sequence
from pathlib import Path

from keyiso.supervisor.pairs import Pairs

SOCKETS = {name: Path(f"/run/{name}.sock") for name in ("vbs-0", "vbs-1", "vbs-generator")}


class Waiting:
    """Pairs that are started again as soon as they may."""

    def __init__(self) -> None:
        self.pairs = Pairs(SOCKETS, self._again)
        self.started: dict[str, Sequence[str]] = {}
        self.waiting: list[str] = []

    def start(self, service: str) -> None:
        more = self.pairs.admit(service)
        if more is None:
            self.waiting.append(service)
        else:
            self.started[service] = more

    def _again(self) -> None:
        waiting, self.waiting = self.waiting, []
        for service in waiting:
            self.start(service)


def test_the_first_one_makes_the_roots_and_the_others_wait() -> None:
    stand = Waiting()
    for service in SOCKETS:
        stand.start(service)

    assert stand.started == {"vbs-0": ("--found-roots",)}
    assert stand.waiting == ["vbs-1", "vbs-generator"]


def test_those_that_waited_ask_the_one_that_has_them() -> None:
    stand = Waiting()
    for service in SOCKETS:
        stand.start(service)
    stand.pairs.ready("vbs-0", armed=True)

    assert stand.waiting == []
    assert stand.started["vbs-1"] == stand.started["vbs-generator"] == ("--ask=/run/vbs-0.sock",)


def test_a_pair_that_ends_before_it_is_armed_is_followed_by_another_one() -> None:
    stand = Waiting()
    stand.start("vbs-0")
    stand.start("vbs-1")
    stand.pairs.ended("vbs-0")

    assert stand.started["vbs-1"] == ("--found-roots",)
    stand.start("vbs-0")
    assert stand.waiting == ["vbs-0"]


def test_a_pair_that_cannot_be_started_yet_keeps_its_place() -> None:
    stand = Waiting()
    stand.start("vbs-0")
    stand.start("vbs-0")

    assert stand.started == {"vbs-0": ("--found-roots",)}


def test_one_that_cannot_be_armed_lets_the_next_one_say_so_too() -> None:
    stand = Waiting()
    stand.start("vbs-0")
    stand.start("vbs-1")
    stand.pairs.ready("vbs-0", armed=False)

    assert stand.started["vbs-1"] == ("--found-roots",)


def test_nobody_makes_roots_while_one_pair_has_them() -> None:
    stand = Waiting()
    for service in SOCKETS:
        stand.start(service)
    stand.pairs.ready("vbs-0", armed=True)
    stand.pairs.ready("vbs-1", armed=True)
    stand.pairs.ended("vbs-0")
    stand.start("vbs-0")

    assert stand.started["vbs-0"] == ("--ask=/run/vbs-1.sock",)


def test_when_all_have_ended_roots_are_made_anew() -> None:
    stand = Waiting()
    stand.start("vbs-0")
    stand.pairs.ready("vbs-0", armed=True)
    stand.pairs.ended("vbs-0")
    stand.start("vbs-1")

    assert stand.started["vbs-1"] == ("--found-roots",)


def test_a_service_that_is_no_pair_is_started_as_it_is() -> None:
    assert Waiting().pairs.admit("keyiso") == ()


class OnceWaiting(Waiting):
    """Where the TPM gives the machine roots out once in a boot."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = Pairs(SOCKETS, self._again, once=True)

    def arm(self, *services: str) -> None:
        for service in services:
            self.pairs.ready(service, armed=True)


def pool() -> OnceWaiting:
    """All pairs have the roots, and the latch has fallen."""
    stand = OnceWaiting()
    for service in SOCKETS:
        stand.start(service)
    stand.arm(*SOCKETS)
    stand.pairs.latched()
    return stand


def test_the_founder_knows_how_many_get_the_roots_that_it_unseals() -> None:
    stand = OnceWaiting()
    for service in SOCKETS:
        stand.start(service)
    stand.arm("vbs-0")

    assert stand.started["vbs-0"] == ("--found-roots", "--pool=3")
    assert stand.started["vbs-1"] == ("--ask=/run/vbs-0.sock",)


def test_when_the_founder_ends_before_the_latch_falls_another_one_unseals() -> None:
    stand = OnceWaiting()
    for service in SOCKETS:
        stand.start(service)
    stand.arm("vbs-0", "vbs-1")
    stand.pairs.ended("vbs-0")
    stand.start("vbs-0")
    assert stand.started["vbs-0"] == ("--ask=/run/vbs-1.sock", "--found-roots", "--pool=3")
    stand.arm("vbs-0")
    stand.pairs.ended("vbs-generator")
    stand.start("vbs-generator")

    assert stand.started["vbs-generator"] == ("--ask=/run/vbs-1.sock", "--ask=/run/vbs-0.sock")


def test_after_the_latch_a_stand_in_follows_as_long_as_one_of_the_pool_lives() -> None:
    stand = pool()
    for service in ("vbs-0", "vbs-generator"):
        stand.pairs.ended(service)
        stand.start(service)

    assert stand.started["vbs-0"] == stand.started["vbs-generator"] == ("--stand-in",)
    assert stand.pairs.useless() == frozenset()


def test_who_got_the_roots_just_before_belongs_to_the_pool() -> None:
    stand = OnceWaiting()
    for service in SOCKETS:
        stand.start(service)
    stand.arm("vbs-0", "vbs-1")
    stand.pairs.latched()
    stand.arm("vbs-generator")
    stand.pairs.ended("vbs-0")
    stand.pairs.ended("vbs-1")
    stand.start("vbs-0")

    assert stand.started["vbs-0"] == ("--stand-in",)


def test_when_the_pool_has_ended_pairs_come_that_are_armed_at_least() -> None:
    stand = pool()
    stand.pairs.ended("vbs-0")
    stand.start("vbs-0")
    stand.pairs.ended("vbs-1")
    stand.pairs.ended("vbs-generator")

    assert stand.pairs.useless() == {"vbs-0"}
    stand.pairs.ended("vbs-0")
    stand.start("vbs-0")
    stand.start("vbs-1")
    stand.arm("vbs-0")
    assert stand.started["vbs-0"] == ("--found-roots", "--pool=3")
    assert stand.started["vbs-1"] == ("--ask=/run/vbs-0.sock",)
    assert stand.pairs.useless() == frozenset()
