"""The time by which a container's lock ends: not the owner's to set, and not the relay's."""

import pytest

from keyiso.status import Status
from keyiso.tpm.constants import TPM_CC, TPM_SE
from keyiso.tpm.proven_time import SLACK_MILLISECONDS, proven_time
from keyiso.tpm.srk import enrol_srk
from tests.conformance.statuses import fails
from tests.tpm.held_in import holds_nothing_after_any_failure
from tests.tpm.relays import Relay, Tampering, code_of
from tests.tpm.swtpm import Swtpm, tpm_on

_TIME = slice(10, 18)
"""Of the answer to TPM2_ReadClock."""


def test_the_time_goes_on(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        first = proven_time(tpm, srk)
        assert first <= proven_time(tpm, srk) < first + 600_000


def test_the_owner_sets_the_clock_and_not_the_time(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        before = proven_time(tpm, srk)
    clock = int(swtpm.tool("tpm2_readclock").split("clock:")[1].split()[0])
    swtpm.tool("tpm2_setclock", str(clock + 7 * 24 * 3600 * 1000))
    clock_after = int(swtpm.tool("tpm2_readclock").split("clock:")[1].split()[0])
    with swtpm.opened() as tpm:
        assert proven_time(tpm, srk) < before + 600_000
    assert clock_after >= clock + 7 * 24 * 3600 * 1000


@pytest.mark.parametrize(("said", "slack"), [(0, 0), (1 << 30, SLACK_MILLISECONDS)])
def test_a_relay_that_says_another_time_is_found_out(
    swtpm: Swtpm, said: int, slack: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(answer: bytes) -> bytes:
        return answer[: _TIME.start] + said.to_bytes(8) + answer[_TIME.stop :]

    monkeypatch.setattr("keyiso.tpm.proven_time.SLACK_MILLISECONDS", slack)
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    with swtpm.transport() as transport, fails(Status.KEYISO_E_TPM_ANSWER):
        proven_time(tpm_on(Tampering(transport, 0, changed)), srk)


def test_a_trial_session_proves_nothing(swtpm: Swtpm) -> None:
    """In one, every comparison holds. The kind of a session is nothing that the TPM confirms."""

    class Trial(Relay):
        def answer(self, command: bytes) -> bytes:
            if code_of(command) is TPM_CC.StartAuthSession:
                policy, trial = bytes([TPM_SE.POLICY, 0, 6]), bytes([TPM_SE.TRIAL, 0, 6])
                command = command.replace(policy, trial)
            return super().answer(command)

    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    with swtpm.transport() as transport, fails(Status.TPM_20_E_ATTRIBUTES):
        proven_time(tpm_on(Trial(transport)), srk)


def test_nothing_is_held_after_a_failure(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    holds_nothing_after_any_failure(swtpm, lambda tpm: proven_time(tpm, srk))
