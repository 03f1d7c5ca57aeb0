"""``keyiso quickstart``: what keyiso is for, shown on a file, in a few seconds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from keyiso.cli._memory_theft import StolenKey, words_of
from keyiso.cli._output import heading, print_details, print_table, printable
from keyiso.cli._protection import protection_rows
from keyiso.cli._temporary import TemporaryInstance, temporary_instance
from keyiso.cli._verifier import Verifier, other_implementation
from keyiso.cli.key._describe import public_pem
from keyiso.cli.key._signing import Form, encoded
from keyiso.errors import VbsUnavailableError
from keyiso.keys import Key
from keyiso.protection import Protection

_NAME: Final = "quickstart"
_LETTER: Final = """\
Dear reader,

whoever has the public key can check that this letter is signed with its private key.
The program that had it signed has never seen that private key.
"""


@click.command()
@click.option("--keep", is_flag=True, help="Keep the key and the files, to go on playing.")
def command(keep: bool) -> None:
    """Show what keyiso does: make a key, sign, kill everything, sign again, attack.

    It runs a keyiso of its own in a temporary directory, so that your own keys are never
    touched, and removes it at the end. The exit code is 0 only when another implementation
    found every signature right.
    """
    verifier = other_implementation()
    click.echo(_INTRODUCTION)
    with temporary_instance(keep=keep) as running:
        _show_processes(running)
        with Key.create(_NAME, "ECDSA_P256") as key:
            files = _Files.written(running.home, key)
            _first_signature(key, files, verifier)
            _kill_and_sign_again(running, key, files, verifier)
            _say_protection(key)
            _steal_from_two_processes(running)
            if not keep:
                key.delete()
    heading("7. Cleaning up")
    if keep:
        _say_kept(running, files)
    else:
        click.echo(f"The key is deleted, keyiso has ended, {printable(str(files.home))} is gone.")
    click.echo()
    click.secho("Everything was verified.", bold=True)


_INTRODUCTION: Final = """\
A program that signs things needs a private key. Usually it reads one from a file, and whoever
gets at the file or at the program's memory has the key. With keyiso the key is in another
process: the program knows only its name, and asks for signatures."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What the other implementation gets to see."""

    home: Path
    letter: Path
    forgery: Path
    public_key: Path

    @classmethod
    def written(cls, home: Path, key: Key) -> "_Files":
        files = cls(home, home / "letter.txt", home / "forged.txt", home / "public.pem")
        files.letter.write_text(_LETTER, encoding="utf-8")
        files.forgery.write_text(_LETTER.replace("never", "often"), encoding="utf-8")
        files.public_key.write_text(public_pem(key), encoding="ascii")
        return files

    def signature(self, number: int) -> Path:
        return self.home / f"letter.sig{number}"


def _show_processes(running: TemporaryInstance) -> None:
    heading("1. A keyiso of its own, which touches none of your keys")
    click.echo(f"It runs in {printable(str(running.home))}, as these processes:")
    rows = [("supervisor", str(running.supervisor), _TASKS["supervisor"])]
    rows += [(name, str(pid), _task(name)) for name, pid in running.pids().items()]
    print_table(("PROCESS", "PID", "TASK"), rows, right={"PID"})


_TASKS: Final = {
    "supervisor": "starts the others, and starts them again",
    "keyiso": "knows names, and who may use which key; sees no private key",
    "software-generator": "makes keys that take long to make",
}


def _task(service: str) -> str:
    return _TASKS.get(service, "holds private keys, and signs")


def _first_signature(key: Key, files: _Files, verifier: Verifier) -> None:
    heading("2. A key, and a signature")
    click.echo(f"Made the key '{_NAME}' ({key.algorithm}). This program has a handle to it.")
    _sign(key, files, 1)
    heading("3. Somebody else checks it")
    click.echo(f"Somebody else is {printable(verifier.name)}, with the public key only.")
    _have_it_checked(files, verifier, 1)
    verdict = verifier.check(files.public_key, files.signature(1), files.forgery)
    click.echo(f"The same signature under a changed letter: {printable(verdict.words)}")
    if verdict.right:
        raise click.ClickException("A changed letter was accepted: this checks nothing.")


def _kill_and_sign_again(
    running: TemporaryInstance, key: Key, files: _Files, verifier: Verifier
) -> None:
    heading("4. Kill it all, and sign with the same handle")
    before = running.pids()
    running.kill_services()
    click.echo("All of them were killed with SIGKILL. The handle is still the one from step 2.")
    _sign(key, files, 2)
    _have_it_checked(files, verifier, 2)
    after = running.pids()
    print_table(
        ("PROCESS", "PID BEFORE", "PID NOW"),
        [(name, str(pid), _pid(after.get(name, 0))) for name, pid in before.items()],
        right={"PID BEFORE", "PID NOW"},
    )
    if set(before.values()) & set(after.values()):
        raise click.ClickException("A process was not killed: this shows nothing.")


def _pid(pid: int) -> str:
    return str(pid) if pid else "starting"


def _say_protection(key: Key) -> None:
    heading("5. What protects this key, and what does not")
    print_details(protection_rows(key.protection))


def _steal_from_two_processes(running: TemporaryInstance) -> None:
    heading("6. A key that root cannot read either")
    stolen = StolenKey()
    try:
        key = Key.import_key(None, stolen.pkcs8, protection=Protection.REQUIRE_VBS)
    except VbsUnavailableError as error:
        click.echo(f"This machine cannot have one: {printable(error.cause)}.")
        click.echo("`keyiso doctor` says what is missing.")
        return
    click.echo("One key is put into two places: a program that signs with it as programs do today,")
    click.echo("and a process of keyiso of level vbs. Then the memory of both is read.")
    with key, stolen.in_a_plain_process() as plain:
        key.verify(key.sign(_LETTER.encode()), _LETTER.encode())
        from_plain, from_pairs = stolen.look_for([plain]), stolen.look_for(running.pair_pids())
    print_table(
        ("PROCESS", "MEMORY THAT WAS READ", "THE KEY"),
        [
            ("a program of today", *words_of(from_plain)),
            ("keyiso, level vbs", *words_of(from_pairs)),
        ],
    )
    if from_pairs.found:
        raise click.ClickException("The key was found where it must not be.")
    if not from_plain.found:
        click.echo("The first process could not be read here: this attack shows nothing.")


def _sign(key: Key, files: _Files, number: int) -> None:
    signature = key.sign(files.letter.read_bytes(), hash="SHA256")
    files.signature(number).write_bytes(encoded(key, signature, Form.DER))
    click.echo(
        f"Signed {files.letter.name} ({files.letter.stat().st_size} bytes). The signature is in"
        f" {files.signature(number).name} ({files.signature(number).stat().st_size} bytes)."
    )


def _have_it_checked(files: _Files, verifier: Verifier, number: int) -> None:
    verdict = verifier.check(files.public_key, files.signature(number), files.letter)
    click.echo(f"{files.signature(number).name} under {files.letter.name}: {verdict.words}")
    if not verdict.right:
        raise click.ClickException("The signature was found wrong.")


def _say_kept(running: TemporaryInstance, files: _Files) -> None:
    home = printable(str(files.home))
    click.echo(
        f"The key, its keyiso and the files are kept. Go on with:\n"
        f"  export KEYISO_HOME={home}\n"
        f"  keyiso key show {_NAME}\n"
        f"  keyiso key sign {_NAME} {home}/{files.letter.name}\n"
        f"and in the end:\n"
        f"  keyiso stop && rm -r {home}"
    )
