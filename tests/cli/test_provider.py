"""``keyiso provider``: registrations, those that do not load included."""

from pathlib import Path

import pytest

from tests.cli.command import Ended, assert_reads, keyiso

SOFTWARE = "Microsoft Software Key Storage Provider"
PASSPORT = "Microsoft Passport Key Storage Provider"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for registrations, of an instance that never has to run."""
    monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
    directory = tmp_path / "home" / "config" / "providers.d"
    directory.mkdir(parents=True)
    return directory


def test_the_built_in_providers(registry: Path) -> None:
    assert_reads(
        keyiso("provider", "list").text,
        """\
NAME ... IMAGE ... LOADS  SOURCE  COMMENT
Microsoft Passport Key Storage Provider  keyiso.providers.passport  yes    keyiso  Keys in ...
Microsoft Software Key Storage Provider  keyiso.providers.software  yes    keyiso  Keys in ...
""",
    )
    assert_reads(
        keyiso("provider", "show", SOFTWARE).text,
        """\
Provider:        Microsoft Software Key Storage Provider
Comment:         Keys in ...
Image:           keyiso.providers.software
Registered by:   keyiso
Name:            Microsoft Software Key Storage Provider
Version:         1.0
Impl Type:       software
Max Name Length: 260

Algorithms
ALGORITHM   CAN
RSA         decrypt, sign
ECDSA_P256  sign
...
""",
    )
    assert_reads(
        keyiso("provider", "show", PASSPORT).text,
        """\
Provider:        Microsoft Passport Key Storage Provider
Comment:         Keys in ...
Image:           keyiso.providers.passport
Registered by:   keyiso
Name:            Microsoft Passport Key Storage Provider
Version:         1.0
Impl Type:       software
Max Name Length: 260

Algorithms
ALGORITHM   CAN
RSA         sign
ECDSA_P256  sign
...
""",
    )
    shown = keyiso("provider", "show", SOFTWARE, "--json").json
    assert shown["properties"]["Impl Type"] == ["software"]
    assert {"name": "ECDSA_P256", "operations": ["sign"]} in shown["algorithms"]
    assert not registry.parents[1].joinpath("state").exists()  # nothing was started


def test_a_provider_that_does_not_load_is_listed_with_its_reason(registry: Path) -> None:
    registry.joinpath("Missing.toml").write_text('image = "no.such.module"\n')
    registry.joinpath("Another.toml").write_text('image = "json"\ncomment = "not one"\n')
    registry.joinpath("Damaged.toml").write_text("image = [")
    registry.joinpath("E\x1b[1m.toml").write_text('image = "no.such"\ncomment = "a\\nb"\n')
    ended = keyiso("provider", "list", "--json")
    listed = {entry["name"]: entry for entry in ended.json["providers"]}
    assert {name: entry["loads"] for name, entry in listed.items()} == {
        "Another": False,
        "Damaged": False,
        "E\x1b[1m": False,
        "Missing": False,
        PASSPORT: True,
        SOFTWARE: True,
    }
    assert "NTE_PROV_DLL_NOT_FOUND" in listed["Missing"]["problem"]
    assert "NTE_PROVIDER_DLL_FAIL" in listed["Another"]["problem"]
    assert listed["Missing"]["source"] == str(registry / "Missing.toml")
    ended = keyiso("provider", "list")
    assert ended.code == 0
    assert all(line.isprintable() for line in ended.text.splitlines())
    assert r"E\x1b[1m" in ended.text and r"a\nb" in ended.text
    assert failure(keyiso("provider", "show", "Missing", "--json")) == (1, "NTE_PROV_DLL_NOT_FOUND")


def test_no_such_provider(registry: Path) -> None:
    assert failure(keyiso("provider", "show", "nobody", "--json")) == (3, "NTE_NOT_FOUND")
    ended = keyiso("provider", "show", "no\x1b[1m")
    assert ended.code == 3 and "\x1b" not in ended.errors


def failure(ended: Ended) -> tuple[int, str]:
    return ended.code, ended.json["error"]["status"]
