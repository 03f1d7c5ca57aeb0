"""Which channels are switched on, up to which level; kept in the events directory.

The file is text: the version in its first line, then a channel and its level in each line.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from keyiso import limits
from keyiso.events.records import Channel, EventType, Level

VERSION: Final = "1"
OFF: Final = 0
"""Below every level: nothing is recorded."""

DEFAULT_LEVELS: Final[Mapping[Channel, int]] = MappingProxyType(
    {Channel.OPERATIONAL: Level.INFORMATION, Channel.KEY_MANAGEMENT: Level.INFORMATION}
)

_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {OFF: "off", **{int(level): level.name.lower() for level in Level}}
)


def level_word(level: int) -> str:
    """``off``, ``error``, ``information``, ``verbose``."""
    return _WORDS[level]


class Channels:
    """The channels of one instance, and how detailed each is."""

    def __init__(self, directory: Path, tell: Callable[[str], None]) -> None:
        """``tell`` hears when what was kept is damaged, so that the defaults hold."""
        self._path = directory / "channels"
        self._levels = dict(DEFAULT_LEVELS)
        try:
            self._levels |= _parse(_read(self._path))
        except FileNotFoundError:
            pass  # nothing was ever switched
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            tell(f"{self._path}: {why}; the event channels are as they are by default")

    @property
    def levels(self) -> Mapping[Channel, int]:
        """The most detailed level that each channel takes; ``OFF`` for none."""
        return self._levels

    def want(self, kind: EventType) -> bool:
        """Events of this kind are recorded."""
        return kind.always or kind.level <= self._levels[kind.channel]

    def switch(self, channel: Channel, level: int) -> None:
        """Set a channel's level, at once and for good. Raises ``OSError``, and nothing changes."""
        levels = self._levels | {channel: level}
        _write(self._path, _text(levels))
        self._levels = levels


def _text(levels: Mapping[Channel, int]) -> str:
    return "".join(
        (VERSION, "\n", *(f"{name} {level_word(level)}\n" for name, level in levels.items()))
    )


def _parse(text: str) -> dict[Channel, int]:
    """Raises ``ValueError`` for what `_text` does not write, or a newer version does."""
    version, *lines = text.split("\n")
    if version != VERSION:
        raise ValueError("it is damaged, or of a version that is not known here")
    if not lines or lines.pop():
        raise ValueError("its last line is not whole")
    levels = {word: level for level, word in _WORDS.items()}
    try:
        pairs = [line.split(" ") for line in lines]
        return {Channel(name): levels[word] for name, word in pairs}
    except (ValueError, KeyError):
        raise ValueError("a line is not a channel and its level") from None


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(limits.EVENT_CHANNELS_BYTES + 1)
    if len(data) > limits.EVENT_CHANNELS_BYTES:
        raise ValueError(f"it is longer than EVENT_CHANNELS_BYTES ({limits.EVENT_CHANNELS_BYTES})")
    return data.decode("ascii")


def _write(path: Path, text: str) -> None:
    """Whole and durable before it has its name."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
