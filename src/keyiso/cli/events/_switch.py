"""Asking the KeyIso service about the channels of its event log."""

import os

from keyiso.client.binding import bind_process
from keyiso.events.channels import OFF
from keyiso.events.records import Level
from keyiso.wire.control import EventChannels, GetEventChannels, SetEventChannel


def event_channels() -> EventChannels:
    """Raises ``NTE_PERM`` for who does not manage the instance."""
    return bind_process(os.environ).control(GetEventChannels())


def switch_channel(channel: str, level: Level | None) -> None:
    """Switch a channel to a level, or off. Raises ``NTE_PERM`` as `event_channels` does."""
    bind_process(os.environ).control(SetEventChannel(channel, OFF if level is None else level))
