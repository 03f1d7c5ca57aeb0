"""Draws the tables of docs/architecture.md from the code: ``python docs/draw.py [--check]``.

Between a line ``<!-- NAME: drawn by docs/draw.py -->`` and ``<!-- end -->`` stands what the
function of that name returns.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from keyiso import limits
from keyiso.client.trouble import FORGET
from keyiso.trustlet.passport.attempt import STEPS
from keyiso.wire.session import TRANSITIONS, Role

PAGE = Path(__file__).with_name("architecture.md")
_BLOCK = re.compile(r"(<!-- ([a-z-]+): drawn by docs/draw\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def session_table(role: Role) -> str:
    """What one side of a connection may send and receive in each state."""
    lines = ["| state | what happens | next state |", "|---|---|---|"]
    for state, moves in TRANSITIONS[role].items():
        for (direction, message), after in moves.items():
            lines.append(
                f"| {state.value} | {direction.value} {message.__name__} | {after.value} |"
            )
        if not moves:
            lines.append(f"| {state.value} | nothing more | |")
    return "\n".join(lines)


def trouble_table() -> str:
    """What a client finds broken, and what it then forgets."""
    lines = ["| what broke | what the client forgets |", "|---|---|"]
    lines += [f"| {trouble.value} | {forget.value} |" for trouble, forget in FORGET.items()]
    return "\n".join(lines)


def limits_table() -> str:
    """Every limit by its name."""
    lines = ["| limit | value |", "|---|---|"]
    lines += [
        f"| `{name}` | {value:,} |"
        for name, value in vars(limits).items()
        if name.isupper() and isinstance(value, int | float)
    ]
    return "\n".join(lines)


def attempts_table() -> str:
    """What is found when an attempt with a PIN goes on, and what is done."""
    lines = ["| what is found | what is done |", "|---|---|"]
    lines += [f"| {situation.value} | {step.value} |" for situation, step in STEPS.items()]
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "client-states": lambda: session_table(Role.CLIENT),
    "server-states": lambda: session_table(Role.SERVER),
    "troubles": trouble_table,
    "attempts": attempts_table,
    "limits": limits_table,
}


def drawn(text: str) -> str:
    """The page with every block drawn anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}\n{match[3]}", text)


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    new = drawn(text)
    if "--check" in sys.argv[1:]:
        if new != text:
            print(f"{PAGE.name} is not what the code says: run python docs/draw.py")
            return 1
        return 0
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
