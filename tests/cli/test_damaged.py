"""``keyiso key delete`` of a key whose stored form is damaged."""

import contextlib
import sqlite3

import pytest

from keyiso import Key
from tests.cli.command import assert_reads, keyiso, on_terminal
from tests.instance import RunningInstance


@pytest.fixture
def damaged(instance: RunningInstance) -> None:
    """'broken' is damaged, as a user's key and as the machine's; 'whole' is not."""
    for machine in (False, True):
        Key.create("broken", "ECDSA_P256", machine=machine).close()
    Key.create("whole", "ECDSA_P256").close()
    instance.end()
    with contextlib.closing(sqlite3.connect(instance.instance.store)) as connection, connection:
        connection.execute(
            "UPDATE keys SET blob = zeroblob(300) WHERE name = ?", ("broken".encode("utf-16-le"),)
        )
    instance.start()


def test_it_is_deleted_by_its_name(damaged: None) -> None:
    assert (
        keyiso("key", "list").text == "NAME    ALGORITHM\nbroken  (damaged)\nwhole   ECDSA_P256\n"
    )
    assert keyiso("key", "show", "broken").code == 1
    ended = keyiso("key", "delete", "broken", "--yes")
    assert ended.code == 0
    assert ended.text == "Deleted the damaged key 'broken'.\n"
    assert_reads(ended.errors, "The key 'broken' is damaged: ...\n")
    assert keyiso("key", "list").text == "NAME   ALGORITHM\nwhole  ECDSA_P256\n"
    assert keyiso("key", "delete", "broken", "--yes").code == 3


def test_it_asks_first(damaged: None) -> None:
    code, seen = on_terminal("key", "delete", "broken", prompt=b"[y/N]", typed=b"n\n")
    assert code == 1
    assert b"The key 'broken' is damaged: the key blob has version 0" in seen
    assert b"Delete the damaged key 'broken' for good? [y/N]" in seen
    assert b"Nothing was done." in seen
    ended = keyiso("key", "delete", "broken")
    assert ended.code == 2 and "--yes" in ended.errors
    assert "broken" in keyiso("key", "list").text


def test_the_machines_and_for_programs(damaged: None) -> None:
    ended = keyiso("key", "delete", "broken", "--machine", "--yes", "--json")
    assert (ended.code, ended.json) == (0, {"deleted": "broken", "damaged": True})
    assert "no keys" in keyiso("key", "list", "--machine").text
    assert "broken" in keyiso("key", "list").text


def test_an_intact_key_is_deleted_as_ever(damaged: None) -> None:
    ended = keyiso("key", "delete", "whole", "--yes")
    assert (ended.text, ended.errors) == ("Deleted the key 'whole'.\n", "")


def test_a_root_that_is_missing_is_no_damage(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    instance.end()
    root = instance.instance.software_machine_root
    root.rename(root.with_name("elsewhere"))
    instance.start()
    ended = keyiso("key", "delete", "web", "--yes")
    assert ended.code == 1 and "KEYISO_E_ROOT_MISSING" in ended.errors
    instance.end()
    root.with_name("elsewhere").rename(root)
    instance.start()
    assert Key.exists("web")
