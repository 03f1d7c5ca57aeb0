"""Where an event goes: to the local log and to the journal, if its channel is on."""

from keyiso.events.channels import Channels
from keyiso.events.journal import Journal
from keyiso.events.log import EventLog
from keyiso.events.records import Event


class EventWriter:
    """Writes what the channels want."""

    def __init__(self, log: EventLog, journal: Journal, channels: Channels) -> None:
        self.log = log
        self.journal = journal
        self.channels = channels

    def write(self, event: Event) -> bool:
        """Write an event; True when the local log has it."""
        if not self.channels.want(event.kind):
            return False
        written = self.log.write(event)
        self.journal.send(event)
        return written
