"""The argument NAME of a key that exists, and its completion in a shell."""

import os
from typing import Final

import click
from click.shell_completion import CompletionItem

_SECONDS: Final = 0.5
"""What the KeyIso service may take: somebody waits for the completion."""

_HARMLESS: Final = frozenset("-_.+@,")
"""Besides letters and digits: what no shell takes for something else."""


def _completions(
    context: click.Context, argument: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Keys whose names begin so. Whatever goes wrong, there are just none."""
    try:
        names = _names(incomplete, machine=bool(context.params.get("machine")))
        return [CompletionItem(name) for name in names if _can_be_typed(name)]
    except Exception:  # a traceback would come out in the middle of what is typed
        return []


def _names(beginning: str, *, machine: bool) -> list[str]:
    """The first names that begin so, without starting anything."""
    from keyiso.client.binding import bind_process
    from keyiso.client.retry import RetryPolicy
    from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
    from keyiso.names import decode_name
    from keyiso.paths import client_instance
    from keyiso.wire.control import EnumKeys

    instance = client_instance(os.environ)
    if not instance.control_socket.exists():
        return []
    binding = bind_process(
        os.environ,
        resolve=lambda: instance,
        policy=RetryPolicy(deadline=_SECONDS),
        autostart=False,
    )
    # Names come in the order of their bytes: from just before the first that can begin so.
    before = beginning.encode("utf-16-le", "surrogatepass")[:-1]
    page = binding.control(
        EnumKeys(MS_KEY_STORAGE_PROVIDER, "machine" if machine else "user", before)
    )
    names = (decode_name(key.name) for key in page.keys)
    return [name for name in names if name.startswith(beginning)]


def _can_be_typed(name: str) -> bool:
    return not name.startswith("-") and all(
        letter.isalnum() or letter in _HARMLESS for letter in name
    )


name_argument = click.argument("name", shell_complete=_completions)
