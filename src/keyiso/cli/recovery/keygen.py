"""``keyiso recovery keygen``."""

from pathlib import Path
from typing import BinaryIO

import click
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.cli._files import check_new, write_output
from keyiso.cli._fingerprints import fingerprint_text
from keyiso.cli._output import print_details, printable
from keyiso.cli._password import password_of
from keyiso.cli._recovery_keys import private_pem, public_pem
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.errors import ncrypt_error
from keyiso.server.startup import harden_process
from keyiso.status import Status


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is the password; without it, the terminal is asked.",
)
@click.option("--no-password", is_flag=True, help="Write the private key in the clear.")
def command(file: Path, password_file: BinaryIO | None, no_password: bool) -> None:
    """Make a recovery key: the private one in FILE, the public one in FILE.pub.

    RUN THIS ON ANOTHER MACHINE than the one whose roots it is to recover, best one without a
    network. Take FILE.pub to the machine, and keep FILE: whoever has it, its password, and a copy
    of a machine's disk, has the keys of that machine.
    """
    if no_password and password_file is not None:
        raise click.UsageError("Use --password-file or --no-password, not both.")
    harden_process()
    public_file = f"{file}.pub"
    for name in (str(file), public_file):
        check_new(name, force=False)
    password = None
    if not no_password:
        password = password_of(password_file, "New password of the recovery key", new=True)
        _check(password)
    key = X25519PrivateKey.generate()
    write_output(str(file), private_pem(key, password), secret=True, force=False)
    write_output(public_file, public_pem(key), force=False)
    known_by = recovery_fingerprint(key.public_key().public_bytes_raw())
    print_details(
        [
            ("Private key", f"{printable(str(file))}: keep it here, and a copy of it"),
            ("Public key", f"{printable(public_file)}: for the machine"),
            ("Fingerprint", fingerprint_text(known_by)),
        ]
    )


def _check(password: bytes) -> None:
    if not limits.BACKUP_PASSWORD_BYTES <= len(password) <= limits.PASSWORD_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"the password has {limits.BACKUP_PASSWORD_BYTES} to {limits.PASSWORD_BYTES} bytes",
            "Take a long one: whoever has the file can try passwords at leisure.",
        )
