"""Help is quick and complete, and the library carries nothing of the command line."""

import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from keyiso.cli._app import app
from keyiso.cli._lazy import LazyGroup
from tests.cli.command import assert_reads, keyiso


def every_command(group: LazyGroup | click.Group, path: tuple[str, ...] = ()) -> list[str]:
    """The paths of all commands, groups included."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append(" ".join((*path, name)))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


def test_help_lists_the_commands() -> None:
    ended = keyiso("--help")
    assert ended.code == 0
    assert_reads(
        ended.text,
        """\
Usage: keyiso [OPTIONS] COMMAND [ARGS]...

  Named private keys that live in another process.
...
Commands:
  quickstart  Show what keyiso does, in a few seconds.
  key         Create keys, use them, delete them.
  provider    Where keys can be kept.
  doctor      What this machine can do for keys, and why not.
  status      What runs, since when, with how many keys.
  trace       Run a command, and show what it had done with keys.
  backup      Write all keys, sealed, to a file.
  restore     Bring the keys of a backup back.
  passport    Your PIN, and the keys that only it opens.
  logon       Log on with a PIN, and have the proof checked.
  tpm         The TPM that keeps the machine roots.
  recovery    The machine roots after the TPM is lost.
  events      Who did what with keys, and what failed.
  serve       Run keyiso in the foreground.
  stop        End the keyiso that runs in the background.
  service     Stop one of keyiso's services, and start it again.
  guest       Programs in a virtual machine, keys outside of it.
  completion  Have a shell complete commands and key names.
...
""",
    )


@pytest.mark.parametrize("path", every_command(app))
def test_every_command_explains_itself(path: str) -> None:
    context = click.Context(app, info_name="keyiso")
    command: click.Command = app
    for word in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
        context = click.Context(command, info_name=word, parent=context, terminal_width=80)
    assert command.help
    # Examples keep their lines: they must be short enough themselves.
    assert all(len(line) <= 80 for line in command.get_help(context).splitlines())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_help_imports_no_command() -> None:
    """It would be slow: commands bring `cryptography`, tables bring `rich`."""
    loaded = modules_after(
        "import contextlib, io, keyiso.cli\n"
        "sys.argv = ['keyiso', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    keyiso.cli.main()\n"
    )
    assert not loaded & {"rich", "cryptography", "keyiso.keys", "keyiso.cli.key"}
    assert "click" in loaded


def test_the_library_does_without_the_command_line() -> None:
    loaded = modules_after("import keyiso.keys, keyiso.ncrypt, keyiso.providers.software")
    assert not loaded & {"rich", "click", "keyiso.cli"}


def modules_after(program: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        check=True,
        text=True,
    )
    return set(ended.stdout.split())


def test_version() -> None:
    assert keyiso("--version").text == f"keyiso {version('keyiso')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("key", "nonsense"),
        ("key", "create", "web"),
        ("key", "create", "--algorithm", "RSA"),
        ("key", "create", "web", "--algorithm", "RSA", "--usage", "sign,fly"),
        ("key", "create", "web", "--algorithm", "RSA", "--length", "0"),
        ("key", "create", "web", "--algorithm", "RSA", "--protection", "perfect"),
        ("key", "show", "web", "--json", "--public", "pem"),
        ("key", "sign", "web", "/nonexistent/file"),
        ("key", "verify", "web", "-", "-"),
        ("key", "delete", "web"),
        ("key", "export", "web", "--no-password"),
        ("key", "export", "web", "--private", "--format", "ssh"),
        ("key", "encrypt", "web", "/nonexistent/file"),
        ("key", "decrypt", "web", "--padding", "none"),
        ("key", "agree", "web"),
        ("key", "agree", "web", "-", "--length", "0"),
        ("key", "csr", "web"),
        ("key", "csr", "web", "--subject", "example.org"),
        ("passport", "enroll", "482915"),
        ("passport", "reset"),
        ("passport", "status", "--user", "nobody of that name"),
        ("logon",),
        ("logon", "root", "--pam"),
        ("logon", "root", "--ready"),
        ("tpm", "enroll", "--unseal", "never"),
        ("tpm", "enroll", "--pcr", "16"),
        ("tpm", "rotate", "--no-recovery", "--recovery-key", "/dev/null"),
        ("tpm", "retire"),
        ("recovery", "keygen"),
        ("recovery", "enroll"),
        ("recovery", "answer", "-", "--key", "/etc/hostname"),
        ("completion", "csh"),
        ("serve", "--workers", "0"),
        ("backup",),
        ("backup", "/nonexistent/file", "--password-file", "/dev/null"),
        ("restore", "/nonexistent/file", "--yes"),
        ("restore", "/dev/null"),
        ("restore", "/dev/null", "--json"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_and_asks_nobody(
    arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("usage") / "home"
    ended = keyiso(*arguments, environ={"KEYISO_HOME": str(home)})
    assert ended.code == 2
    assert "Usage: keyiso" in ended.errors
    assert not ended.output
    assert not home.exists()
