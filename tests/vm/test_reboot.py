"""Keys of level ``software`` and a real reboot. The shortest test of a virtual machine, which
`make test` runs too."""

import pytest

from tests.vm.conftest import NewMachine

pytestmark = pytest.mark.reboot

OPENED = """
from pathlib import Path
from keyiso.wire.control import CreateKey, OpenEphemeral
from tests.conformance import raw_client

raw_client.SECONDS = 120
client = raw_client.RawClient.bound(Path("/run/keyiso/control.sock"), b"the same process")

def opened(blob):
    "What comes of opening a sealed blob, as the process that the key belongs to."
    _, attached = client.attach()
    opening = OpenEphemeral(blob, attached.channel_id, attached.worker_instance)
    answer = client.call(opening)
    return status_name(answer.status) if hasattr(answer, "status") else "opened"
"""


def test_a_stored_key_outlives_a_reboot_and_an_ephemeral_one_is_gone(
    new_machine: NewMachine,
) -> None:
    machine = new_machine()
    machine.start()
    unique_name, signature, blob, before = machine.told(f"""{OPENED}
key = Key.create("kept", "ECDSA_P256")
blob = client.call(CreateKey(raw_client.terms())).blob
tell([key.unique_name, key.sign(b"data").hex(), blob.hex(), opened(blob)])
""")
    assert before == "opened"
    machine.reboot()

    assert machine.told(f"""{OPENED}
key = Key.open("kept")
key.verify(bytes.fromhex({signature!r}), b"data")
tell([signs(key), key.unique_name, opened(bytes.fromhex({blob!r}))])
""") == ["signs", unique_name, "KEYISO_E_EPHEMERAL_GONE"]
