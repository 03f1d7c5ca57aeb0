"""What is sent to a TPM: nothing but what docs/tpm.md says, and each of it can be read back."""

import re
from pathlib import Path

from keyiso.tpm.command import open_answer
from keyiso.tpm.constants import TPM_CC, TPMA_SESSION
from tests.tpm.everything import COMMANDS, command_type, use_everything
from tests.tpm.relays import Relay
from tests.tpm.swtpm import Swtpm, tpm_on

PAGE = Path(__file__).parents[2] / "docs" / "tpm.md"


def recorded(swtpm: Swtpm) -> Relay:
    with swtpm.transport() as transport:
        relay = Relay(transport)
        use_everything(tpm_on(relay))
    return relay


def test_what_is_sent_and_answered_in_clear_is_what_is_read_back(swtpm: Swtpm) -> None:
    relay = recorded(swtpm)
    read: set[str] = set()
    for frame, answered in zip(relay.commands, relay.answers, strict=True):
        kind = command_type(frame)
        handles, authorization, parameters = kind.take_apart(frame)
        attributes = 0 if authorization is None else authorization.session_attributes
        if not attributes & (TPMA_SESSION.decrypt | TPMA_SESSION.encrypt):
            command = kind.decode(handles + parameters)
            answer = open_answer(command, answered)
            result = command.answered(answer, answer.parameters)

            assert command.frame(authorization=authorization) == frame
            assert result.encode() == answer.handles + answer.parameters
            read.add(kind.__name__)

    assert len(read) > 10, read


def test_the_documentation_names_every_command_that_is_sent_and_no_other(swtpm: Swtpm) -> None:
    sent = {command_type(frame).__name__ for frame in recorded(swtpm).commands}
    named = re.findall(r"^\| `(TPM2_\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(named) == len(set(named))
    assert set(named) == sent


def test_every_command_code_has_a_command_of_its_name() -> None:
    assert {code: f"TPM2_{code.name}" for code in TPM_CC} == {
        code: command.__name__ for code, command in COMMANDS.items()
    }
