"""SIGKILL of a whole machine: what was finalized is there when it is switched on again."""

import os
import random

import pytest

from tests.vm.conftest import NewMachine

pytestmark = pytest.mark.vm

TIMES = int(os.environ.get("KEYISO_POWER_LOSSES", "2"))
SEED = int(os.environ.get("KEYISO_SEED", random.randrange(1 << 32)))

CREATING = """
import itertools, sys
for number in itertools.count():
    key = Key.create(f"{sys.argv[1]}-{number}", "ECDSA_P256")
    tell([key.name, key.unique_name])
"""


@pytest.mark.parametrize("seed", [SEED])
def test_no_key_is_lost_whose_creation_was_over(new_machine: NewMachine, seed: int) -> None:
    """The power goes as soon as the guest has said that a key is there."""
    chance = random.Random(seed)
    machine = new_machine()
    keys = {}
    for loss in range(TIMES):
        machine.start()
        creating = machine.follow_python(CREATING, f"loss-{loss}")
        for _ in range(chance.randrange(1, 12)):
            name, unique_name = next(creating)
            keys[name] = unique_name
        machine.kill()
    machine.start()

    found = machine.told(f"""
keys = [Key.open(name) for name in {list(keys)!r}]
tell([[key.name, key.unique_name, signs(key)] for key in keys])
""")
    assert found == [[*key, "signs"] for key in keys.items()]
