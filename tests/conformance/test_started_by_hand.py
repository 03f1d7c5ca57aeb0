"""Services that nobody but the supervisor is to start."""

import subprocess

import pytest

from keyiso.interpreter import module_command

NOWHERE = "/proc/keyiso-cannot-be-here"
PLACES = {
    "keyiso.keyiso_service": ("store", "ephemerals", "events"),
    "keyiso.trustlet": ("machine-root", "boot-roots"),
    "keyiso.passport.service": ("upstream", "passport-socket"),
    "keyiso.passport.container_service": ("upstream", "passport-socket"),
}
"""What each of them must be told; none of them comes to look there."""


@pytest.mark.parametrize("module", PLACES)
def test_a_service_says_what_starts_it(module: str) -> None:
    told = [f"--{place}={NOWHERE}" for place in PLACES[module]]
    if module == "keyiso.trustlet":
        told.append("--keyiso-uid=0")
    command = module_command(module, "--service=by-hand", *told)

    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "keyiso by-hand: no sockets were passed: start keyiso with `keyiso serve` or systemd\n"
    )
