"""The other placement: programs in the machine, the stack outside of it. All memory of the machine
is searched for the keys, which is more than its root can read.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from keyiso import Key, NCryptError, Protection
from tests.attack.planted import Planted, pkcs8, plant
from tests.attack.search import Search
from tests.instance import RunningInstance, in_use
from tests.vm.machine import Machine
from tests.vm.requirement import kernels, program

pytestmark = pytest.mark.vm

KEYISO = Path(sysconfig.get_path("scripts"), "keyiso")
MODULES = (
    *("virtio/virtio", "virtio/virtio_ring", "virtio/virtio_pci_legacy_dev"),
    *("virtio/virtio_pci_modern_dev", "virtio/virtio_pci", "char/virtio_console"),
)
"""What a port needs, in this order."""
SERVICE = f"""#!/bin/sh
for module in {" ".join(Path(name).name for name in MODULES)}; do
    insmod /root/$module.ko
done
exec {KEYISO} guest relay --system /dev/vport0p1
"""
"""Instead of keyiso itself."""
SECONDS = 60.0


class MachineWithPort(Machine):
    """A port leads out of it, and its memory can be had."""

    def __init__(self, directory: Path, disk: Path) -> None:
        super().__init__(directory, disk, megabytes=384)
        self.port = directory / "port.sock"
        self._monitor = directory / "monitor.sock"
        self._directory = directory
        self._bring_relay()

    def memory(self) -> Path:
        """All of it, in a file."""
        path = self._directory / "memory"
        with (
            socket.socket(socket.AF_UNIX) as monitor,
            monitor.makefile("rw", encoding="utf-8") as lines,
        ):
            monitor.settimeout(SECONDS)
            monitor.connect(str(self._monitor))
            size = self._megabytes << 20
            saving = {"val": 0, "size": size, "filename": str(path)}
            for command in (
                {"execute": "qmp_capabilities"},
                {"execute": "pmemsave", "arguments": saving},
            ):
                lines.write(json.dumps(command) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    assert "error" not in answer, answer
        return path

    def _bring_relay(self) -> None:
        """Put it onto the disk before the first boot."""
        service = self._directory / "service"
        service.write_text(SERVICE, encoding="ascii")
        (drivers,) = kernels()[-1].parents[1].glob("lib/modules/*/kernel/drivers")
        commands = [
            "rm /etc/keyiso-service",
            f"write {service} /etc/keyiso-service",
            "sif /etc/keyiso-service mode 0100755",
            *(f"write {drivers}/{name}.ko /root/{Path(name).name}.ko" for name in MODULES),
        ]
        subprocess.run(
            [program("debugfs"), "-w", "-f", "-", self.disk],
            input="\n".join(commands),
            text=True,
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )

    def _command(self, line: int, chip: int | None) -> list[str]:
        return [
            *super()._command(line, chip),
            *("-chardev", f"socket,id=port,path={self.port},server=on,wait=off"),
            *("-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=port,name=keyiso"),
            *("-qmp", f"unix:{self._monitor},server=on,wait=off"),
        ]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[RunningInstance]:
    """The stack; this process is outside too."""
    with in_use(RunningInstance(tmp_path / "outside", ("--workers=1",))) as running:
        yield running


def import_everywhere(planted: Planted) -> list[str]:
    """The names of the keys; of level ``vbs`` too, where workers can be armed."""
    names = []
    for level, options in (
        ("software", {}),
        ("vbs", {"protection": Protection.REQUIRE_VBS, "per_boot": True}),
    ):
        for kind, key in (("rsa", planted.rsa_key), ("ec", planted.ec_key)):
            try:
                Key.import_key(f"{level}-{kind}", pkcs8(key), **options).close()  # type: ignore[arg-type]
            except NCryptError as error:
                assert level == "vbs", error
                print(f"not tried: {level}: {error}", file=sys.stderr)
            else:
                names.append(f"{level}-{kind}")
    return names


def serve(machine: MachineWithPort, outside: RunningInstance) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", KEYISO, "guest", "serve", machine.port], env=outside.environ
    )


def test_a_machine_uses_keys_that_are_nowhere_in_its_memory(
    disk: Path, tmp_path: Path, outside: RunningInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = plant(os.urandom(32), os.urandom(32))
    names = import_everywhere(planted)
    canary = os.urandom(64)
    sent = planted.rsa_key.public_key().encrypt(
        canary, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    )
    directory = tmp_path / "machine"
    with MachineWithPort(directory, disk) as machine:
        server = serve(machine, outside)
        try:
            machine.start()
            told = machine.told(f"""
from pathlib import Path
Path("/dev/shm/canary").write_bytes(Key.open("software-rsa").decrypt(bytes.fromhex({sent.hex()!r})))
for name in {names}:
    key = Key.open(name)
    for _ in range(20):
        signs(key)
Key.create("made-inside", "ECDSA_P256").close()
tell({{name: Key.open(name).sign(b"data").hex() for name in {names}}})
""")
            search = Search(
                {
                    **{name: form for name, form in planted.forms.items() if "root" not in name},
                    "canary": canary,
                }
            )
            with open(machine.memory(), "rb") as memory:
                while piece := memory.read(64 << 20):
                    search.look(piece)
            server.kill()
            server.wait(SECONDS)
            server = serve(machine, outside)
            assert machine.told('tell(signs(Key.open("made-inside")))') == "signs"
            machine.reboot()
            again = machine.told('tell(signs(Key.open("made-inside")))')
        finally:
            server.terminate()
            server.wait(SECONDS)
    shutil.rmtree(directory)

    for name, signature in told.items():
        with Key.open(name) as key:
            key.verify(bytes.fromhex(signature), b"data")
    assert again == "signs"
    assert search.searched == 384 << 20
    assert search.found == {"canary"}
    with capsys.disabled():
        print(f"\n{', '.join(names)}: used from a machine in whose memory only the canary was")
