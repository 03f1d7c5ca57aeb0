"""Something that takes long, on a terminal."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say on the terminal what goes on and for how many seconds; elsewhere nothing is said."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description} {task.elapsed:.0f} s", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with progress:
        progress.add_task(what, total=None)
        yield
