"""What can be asked of a new key, whether it is created or imported."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypedDict, TypeVar

import click

from keyiso.cli._options import machine_option
from keyiso.keys import ExportPolicy, KeyUsage, Protection

F = TypeVar("F", bound=Callable[..., Any])

USAGES: Final[Mapping[str, KeyUsage]] = MappingProxyType(
    {"sign": KeyUsage.SIGN, "decrypt": KeyUsage.DECRYPT, "agree": KeyUsage.AGREE}
)
_POLICIES: Final[Mapping[str, ExportPolicy]] = MappingProxyType(
    {
        "none": ExportPolicy.NONE,
        "encrypted": ExportPolicy.ENCRYPTED,
        "plaintext": ExportPolicy.ENCRYPTED | ExportPolicy.PLAINTEXT,
    }
)
_PROTECTIONS: Final[Mapping[str, Protection]] = MappingProxyType(
    {
        "software": Protection.SOFTWARE,
        "prefer-vbs": Protection.PREFER_VBS,
        "require-vbs": Protection.REQUIRE_VBS,
    }
)


class Terms(TypedDict):
    """The values of `term_options`, as `Key.create` and `Key.import_key` take them."""

    machine: bool
    overwrite: bool
    usage: KeyUsage
    export_policy: ExportPolicy
    protection: Protection
    per_boot: bool


def term_options(command: F) -> F:
    """The options of a command that makes a key."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _usage(context: click.Context, option: click.Parameter, value: str) -> KeyUsage:
    if value == "all":
        return KeyUsage.ALL
    usage = KeyUsage(0)
    for word in value.split(","):
        if word not in USAGES:
            raise click.BadParameter(f"{word!r} is none of {', '.join(USAGES)}, all.")
        usage |= USAGES[word]
    return usage


def _policy(context: click.Context, option: click.Parameter, value: str) -> ExportPolicy:
    return _POLICIES[value]


def _protection(context: click.Context, option: click.Parameter, value: str) -> Protection:
    return _PROTECTIONS[value]


_OPTIONS: Final = (
    machine_option,
    click.option("--overwrite", is_flag=True, help="Replace a key of this name."),
    click.option(
        "--usage",
        default="all",
        show_default=True,
        metavar="USES",
        callback=_usage,
        help="What the key may do: sign, decrypt, agree, with commas between; or all.",
    ),
    click.option(
        "--export-policy",
        type=click.Choice(list(_POLICIES)),
        default="none",
        show_default=True,
        callback=_policy,
        help="Whether the private key may ever leave, and in which form.",
    ),
    click.option(
        "--protection",
        type=click.Choice(list(_PROTECTIONS)),
        default="software",
        show_default=True,
        callback=_protection,
        help="How the key is isolated: require-vbs fails where the machine cannot, prefer-vbs"
        " then makes a software key.",
    ),
    click.option(
        "--per-boot", is_flag=True, help="The key ends with this boot of the machine; needs vbs."
    ),
)
