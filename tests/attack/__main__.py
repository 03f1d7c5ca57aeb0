"""``python -m tests.attack``, as root: the tables of docs/isolation.md, in one run."""

from pathlib import Path
from tempfile import TemporaryDirectory

from _pytest.outcomes import Skipped

from tests.attack.cost import cost_table
from tests.attack.outcome import Attack
from tests.attack.subject import Kind, Subject
from tests.attack.suite import ATTACKS


def main() -> None:
    print("| attack by root | bare worker | armed worker |")
    print("|---|---|---|")
    for attack in ATTACKS:
        bare = _verdict("bare", attack) if attack.on_bare else ""
        print(f"| {attack.name} | {bare} | {_verdict('armed', attack)} |", flush=True)
    print()
    for row in cost_table():
        print(row, flush=True)


def _verdict(kind: Kind, attack: Attack) -> str:
    with TemporaryDirectory() as directory, Subject(kind, Path(directory)) as subject:
        try:
            outcome = attack.run(subject)
        except Skipped as skipped:
            return f"not tried: {skipped}"
    return "succeeds" if outcome.succeeded else "fails"


if __name__ == "__main__":
    main()
