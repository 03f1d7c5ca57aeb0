"""One worker serves Passport, and loads nothing for it that a worker may not."""

from tests.unit.test_worker_imports import FORBIDDEN, START, WORKERS, loaded, unexplained

PASSPORT = """
import keyiso.trustlet.passport.desk
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import COST_64_KIB, stretched
stretched(Pin(bytearray(b"482915")), bytes(16), COST_64_KIB)
"""

OF_SOFTWARE_WORKERS = {"fcntl"}
"""What locks a container's directory. An armed worker has no files."""


def test_other_workers_load_nothing_of_it() -> None:
    start = START.format(imports=WORKERS["software"], level="software")
    found = loaded(start, "set(sys.modules) - before")

    assert not {
        name for name in found if name.startswith(("keyiso.trustlet.passport", "keyiso.tpm"))
    }


def test_passport_loads_only_what_a_worker_may_have() -> None:
    start = START.format(imports=WORKERS["software"], level="software")
    found = loaded(f"{start}\n{PASSPORT}", "set(sys.modules) - before")
    tpm = {name for name in found if name.startswith("keyiso.tpm")}

    assert "keyiso.trustlet.passport.attempt" in found
    assert unexplained(found - tpm) <= OF_SOFTWARE_WORKERS
    assert not {name for name in found if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN}
