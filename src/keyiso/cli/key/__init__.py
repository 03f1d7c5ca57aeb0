"""``keyiso key``: everything about keys."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "create": Lazy("keyiso.cli.key.create", "Make a new key."),
    "list": Lazy("keyiso.cli.key.list", "The names of your keys."),
    "show": Lazy("keyiso.cli.key.show", "What a key is, its public key, how it is protected."),
    "sign": Lazy("keyiso.cli.key.sign", "Sign a file."),
    "verify": Lazy("keyiso.cli.key.verify", "Check a signature."),
    "policy": Lazy("keyiso.cli.key.policy", "What a key may be used for, and by whom."),
    "encrypt": Lazy("keyiso.cli.key.encrypt", "Encrypt a file."),
    "decrypt": Lazy("keyiso.cli.key.decrypt", "Decrypt a file."),
    "agree": Lazy("keyiso.cli.key.agree", "Derive a key that somebody else can derive too."),
    "csr": Lazy("keyiso.cli.key.csr", "Ask for a certificate (PKCS #10)."),
    "export": Lazy("keyiso.cli.key.export", "Write a public or a private key to a file."),
    "import": Lazy("keyiso.cli.key.import_", "Take over a private key from a file."),
    "delete": Lazy("keyiso.cli.key.delete", "Delete a key for good."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Create keys, use them, delete them.

    A key has a NAME of 1 to 260 characters; upper and lower case differ. A NAME that begins with
    a dash goes after two dashes: keyiso key show -- -name
    """
