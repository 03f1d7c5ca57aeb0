"""The option --hash."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from keyiso.crypto.digests import HASH_NAMES

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_HASH: Final = "SHA256"


def hash_option(what: str = "") -> Callable[[F], F]:
    """A hash by its CNG identifier, None where none is named; ``what`` says what it is for."""
    return click.option(
        "--hash",
        "hash_name",
        callback=_upper,
        metavar="NAME",
        shell_complete=_completions,
        help=f"{what}One of {', '.join(HASH_NAMES)}. [default: {DEFAULT_HASH}]",
    )


def _upper(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    return None if value is None else value.upper()


def _completions(
    context: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in HASH_NAMES if name.startswith(incomplete.upper())]
