"""Relays between keyiso and a TPM, honest and not."""

from collections.abc import Callable

from keyiso.tpm.command import Header
from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.transport import Transport

Exchange = Callable[[bytes], bytes]


class Relay:
    """Passes everything on, and remembers it. Subclasses change what passes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.commands: list[bytes] = []
        self.answers: list[bytes] = []

    def exchange(self, command: bytes) -> bytes:
        self.commands.append(command)
        answer = self.answer(command)
        self.answers.append(answer)
        return answer

    def answer(self, command: bytes) -> bytes:
        return self._transport.exchange(command)

    def codes(self) -> list[TPM_CC]:
        """The commands that passed, by their code."""
        return [code_of(command) for command in self.commands]

    def wire(self) -> bytes:
        """All bytes that passed."""
        return b"".join(self.commands + self.answers)


class Tampering(Relay):
    """Changes the answer number ``which``, from 0, with a function of yours."""

    def __init__(self, transport: Transport, which: int, change: Exchange) -> None:
        super().__init__(transport)
        self._which = which
        self._change = change

    def answer(self, command: bytes) -> bytes:
        answer = super().answer(command)
        return self._change(answer) if len(self.answers) == self._which else answer


class Refusing(Relay):
    """Answers the command number ``which`` with a code, and does not pass it on."""

    def __init__(self, transport: Transport, which: int, code: int) -> None:
        super().__init__(transport)
        self._which = which
        self._code = code

    def answer(self, command: bytes) -> bytes:
        if len(self.answers) == self._which:
            return refusal(self._code)
        return super().answer(command)


def code_of(command: bytes) -> TPM_CC:
    return TPM_CC(Header.decode(command[:10]).code)


def refusal(code: int) -> bytes:
    """The answer that a TPM gives with this code."""
    return Header(0x8001, 10, code).encode()


def windows(secret: bytes, size: int = 8) -> set[bytes]:
    """Pieces of a secret, forwards and backwards; one of them would give it away."""
    return {
        one[at : at + size]
        for one in (secret, secret[::-1])
        for at in range(len(secret) - size + 1)
    }
