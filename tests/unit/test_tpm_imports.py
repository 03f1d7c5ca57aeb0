"""The TPM client is meant to run in a trustlet worker, and loads nothing that a worker may not."""

from tests.unit.test_worker_imports import FORBIDDEN, START, WORKERS, loaded, unexplained

TPM = """
import keyiso.tpm.capabilities
import keyiso.tpm.pin_sealed
import keyiso.tpm.sealed_root
import keyiso.tpm.transport
from keyiso.clock import SystemClock
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.srk import enrol_srk

class Nobody:
    def exchange(self, command):
        return bytes.fromhex("80010000000a00000101")

try:
    enrol_srk(Tpm(Nobody(), SystemClock()))
except Exception as e:
    assert "TPM_RC_FAILURE" in str(e)
"""


def test_the_tpm_client_loads_only_what_a_worker_may_have() -> None:
    start = START.format(imports=WORKERS["software"], level="software")
    found = loaded(f"{start}\n{TPM}", "set(sys.modules) - before")
    ours = {name for name in found if name.startswith("keyiso.tpm")}

    assert "keyiso.tpm.session" in ours
    assert unexplained(found - ours) == set()
    assert not {name for name in found if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN}
