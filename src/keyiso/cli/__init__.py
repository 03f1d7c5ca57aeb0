"""The command line: one file per noun. Every command is imported when it is used."""

__all__ = ["main"]


def main() -> None:
    """What ``keyiso`` runs."""
    import sys

    from keyiso.cli._app import app
    from keyiso.cli._completion import complete
    from keyiso.cli._exit import run

    code = complete(app)
    sys.exit(run(app, sys.argv[1:]) if code is None else code)
