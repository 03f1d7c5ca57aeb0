"""Instances that require more of ``vbs`` keys than armed workers have by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import Key, Protection
from keyiso.errors import NCryptError, VbsUnavailableError
from tests.cli.command import keyiso
from tests.instance import RunningInstance, in_use
from tests.roots.machine import EnrolledMachine
from tests.vbs.serving import instance_on

WITHOUT_A_SHIELD = '[isolation]\nrequire = ["bpf-lsm"]\n'
LATCHED = '[isolation]\nrequire = ["latched"]\n'


@pytest.fixture
def running(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """On a machine where nothing is enrolled yet; tests start it."""
    with instance_on(machine, "--workers=1") as running:
        yield running


def require(home: Path, text: str) -> Path:
    file = home / "config" / "keyiso.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def made(name: str | None, protection: Protection = Protection.REQUIRE_VBS) -> Key:
    return Key.create(name, "ECDSA_P256", protection=protection, overwrite=name is not None)


def level_of(key: Key) -> str:
    with key:
        key.verify(key.sign(b"data"), b"data")
        return key.protection.level


def refusal(name: str | None) -> VbsUnavailableError:
    with pytest.raises(VbsUnavailableError) as refused:
        made(name)
    return refused.value


def events(number: int) -> str:
    return keyiso("events", "show", "--id", str(number), "--json").text


def test_no_vbs_key_is_made_without_a_shield_that_is_required(
    armed_machine: None, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    file = require(home, WITHOUT_A_SHIELD)
    with in_use(RunningInstance(home)) as running:
        error = refusal(None)
        assert f"{file} requires 'bpf-lsm'" in error.cause
        assert "--shield bpf-lsm" in error.action
        assert level_of(made(None, Protection.PREFER_VBS)) == "software"
        assert level_of(made("ordinary", Protection.SOFTWARE)) == "software"
        found = keyiso("doctor", "--json")
        assert found.code == 7
        workers = next(one for one in found.json["findings"] if one["name"] == "vbs-workers")
        assert (workers["state"], str(file) in workers["evidence"]) == ("no", True)
        running.end()
        file.unlink()
        running.start()
        assert level_of(made(None)) == "vbs"


def test_a_stored_key_needs_roots_that_are_given_out_once_where_that_is_required(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()  # any-start
    running.start()
    made("of before").close()
    running.end()

    file = require(running.home, LATCHED)
    running.start()

    error = refusal("new")
    assert f"{file} requires 'latched'" in error.cause
    assert "tpm rotate --unseal once-per-boot" in error.action
    assert level_of(made(None)) == "vbs"
    assert level_of(made("fallen back", Protection.PREFER_VBS)) == "software"
    with pytest.raises(NCryptError) as refused:
        Key.open("of before").sign(b"data")
    assert (refused.value.status, refused.value.cause) == (error.status, error.cause)
    found = keyiso("doctor", "--json").json["findings"]
    root = next(one for one in found if one["name"] == "machine-root")
    assert (root["state"], root["evidence"]) == ("no", error.cause)

    assert error.cause in events(13)
    assert str(file) in machine.fails("tpm", "rotate", "--unseal", "any-start")

    running.end()
    machine.run("tpm", "rotate", "--unseal", "once-per-boot")
    running.start()
    assert level_of(Key.open("of before")) == "vbs"
    assert level_of(made("new")) == "vbs"
    assert machine.run("tpm", "reseal", "--json").json["resealed"] == 1


def test_roots_that_are_given_out_once_are_enough(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol("--unseal", "once-per-boot")
    require(running.home, LATCHED)
    running.start()
    assert level_of(made("kept")) == "vbs"


def test_keyiso_does_not_start_with_what_cannot_be_required(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = require(home, '[isolation]\nrequire = ["latch"]\n')
    ended = keyiso("serve", environ={"PATH": "/usr/bin:/bin", "KEYISO_HOME": str(home)})
    assert ended.code == 1
    assert str(file) in ended.errors
