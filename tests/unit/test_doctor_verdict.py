"""The weakest of what is needed decides, and is named."""

from collections.abc import Callable

import pytest

from keyiso.doctor.arming import QUESTIONS, bpf_lsm, missing_shields, probed_shields
from keyiso.doctor.finding import Finding, Question
from keyiso.doctor.verdict import EPHEMERAL, verdict
from keyiso.required_shields import BPF_LSM
from keyiso.trustlet.arming import shields
from keyiso.trustlet.arming.shields import ARMED, Answer

FIRST = Question("first", "good", "bad", "mend the first")
SECOND = Question("second", "good", "bad", "mend the second")


@pytest.mark.parametrize(
    ("needs", "state", "evidence", "remedy"),
    [
        (
            [FIRST.yes("a"), SECOND.yes("b")],
            Answer.YES,
            "first, second: yes",
            "",
        ),
        ([FIRST.unknown("a"), SECOND.no("b")], Answer.NO, "second: b", "mend the second"),
        ([FIRST.unknown("a"), SECOND.yes("b")], Answer.UNKNOWN, "first: a", "mend the first"),
        ([FIRST.no("a", ""), SECOND.no("b")], Answer.NO, "first, second: a", "mend the second"),
    ],
)
def test_the_weakest_decides(
    needs: list[Finding], state: Answer, evidence: str, remedy: str
) -> None:
    found = verdict(EPHEMERAL, needs)

    assert (found.state, found.evidence, found.remedy) == (state, evidence, remedy)
    assert found.consequence == (EPHEMERAL.good if state is Answer.YES else EPHEMERAL.bad)


def test_every_shield_of_an_armed_worker_is_explained() -> None:
    assert tuple(QUESTIONS) == ARMED

    found = probed_shields(
        lambda: [
            *(shields.yes(name, "tried") for name in ARMED[:2]),
            *(shields.no(name, "tried") for name in ARMED[2:]),
            shields.yes(BPF_LSM, "tried"),
        ]
    )
    assert [one.name for one in found] == list(ARMED)
    assert [one.state for one in found] == [Answer.YES] * 2 + [Answer.NO] * 3


def test_a_probe_that_fails_says_nothing_of_the_shields() -> None:
    def probe() -> tuple[shields.Finding, ...]:
        raise PermissionError(1, "no")

    assert {one.state for one in probed_shields(probe)} == {Answer.UNKNOWN}


def test_without_the_ingredients_nothing_is_armed() -> None:
    assert missing_shields([FIRST.yes("a"), SECOND.unknown("b")]) == ()

    found = missing_shields([FIRST.no("a"), SECOND.no("b")])
    assert {one.state for one in found} == {Answer.UNKNOWN}
    assert {one.evidence for one in found} == {"nothing was armed, for lack of first, second"}


@pytest.mark.parametrize("answer", [shields.yes, shields.no, shields.unknown])
def test_the_shield_of_bpf_is_explained(answer: Callable[[str, str], shields.Finding]) -> None:
    found = bpf_lsm(lambda: answer(BPF_LSM, "tried"))

    assert found.state is answer(BPF_LSM, "").answer
    assert found.evidence == "tried"
    assert bool(found.remedy) is (found.state is not Answer.YES)
