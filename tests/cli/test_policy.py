"""``keyiso key policy``."""

import os
import pwd

from keyiso import ExportPolicy, Key, KeyUsage
from tests.cli.command import assert_reads, keyiso
from tests.instance import RunningInstance

ME = pwd.getpwuid(os.geteuid()).pw_name


def test_it_shows_what_a_key_may_be_used_for(instance: RunningInstance) -> None:
    Key.create("web", "RSA", usage=KeyUsage.SIGN, export_policy=ExportPolicy.ENCRYPTED).close()

    ended = keyiso("key", "policy", "web")

    assert ended.code == 0
    assert_reads(
        ended.text,
        f"""\
Key:    web
Usage:  sign
Export: encrypted
Access: user:{ME} (use, manage)
""",
    )
    assert keyiso("key", "policy", "web", "--json").json == {
        "name": "web",
        "machine": False,
        "usage": ["sign"],
        "export_policy": ["encrypted"],
        "access": [{"principal": f"user:{ME}", "use": True, "manage": True}],
    }


def test_it_shares_a_key_of_the_machine(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256", machine=True).close()
    before = keyiso("key", "policy", "web", "--machine", "--json").json["access"]

    ended = keyiso(
        *("key", "policy", "web", "--machine", "--json"),
        *("--allow", "user:nobody", "--allow", "user:4711", "--allow-manage", "group:games"),
    )

    assert ended.code == 0
    wanted = [
        *before,
        {"principal": "user:nobody", "use": True, "manage": False},
        {"principal": "user:4711", "use": True, "manage": False},
        {"principal": "group:games", "use": True, "manage": True},
    ]
    assert ended.json["access"] == wanted
    assert keyiso("key", "policy", "web", "--machine", "--json").json["access"] == wanted

    ended = keyiso("key", "policy", "web", "--machine", "--remove", "user:4711", "--json")

    wanted.pop(2)
    assert ended.json["access"] == wanted


def test_what_cannot_be_asked_for(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()

    for options, code, words in (
        (["--remove", "user:nobody"], 2, "user:nobody is not on the key's access list"),
        (["--remove", f"user:{ME}"], 1, "nobody could manage the key"),
        (["--allow", "user:no such user"], 1, "this machine has no user 'no such user'"),
        (["--allow", "everybody"], 1, "names neither a user nor a group"),
        (["--allow", "user:"], 1, "names neither a user nor a group"),
    ):
        ended = keyiso("key", "policy", "web", *options)
        assert ended.code == code, ended
        assert words in ended.errors, ended
    assert keyiso("key", "policy", "no such key").code == keyiso("key", "show", "none").code
