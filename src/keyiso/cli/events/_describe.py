"""An event as a line for people."""

import json
from typing import Any

from keyiso.cli._output import printable
from keyiso.events.reader import Record
from keyiso.status import status_name


def event_line(record: Record) -> str:
    """When, what, with which key, how it went, who."""
    data = record.data
    parts = [
        record.time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        f"{record.event_id:>4}",
        f"{record.level:<11}",
        record.message + _what(data),
    ]
    if isinstance(status := data.get("Status"), int) and status:
        parts.append(f"{status_name(status)} (0x{status & 0xFFFFFFFF:08X})")
    if record.count != 1:
        parts.append(f"{record.count} times")
    pid = f"[{record.pid}]" if record.pid else ""
    parts.append(f"uid {record.uid} {data.get('ProcessName', '')}{pid}".rstrip())
    return printable("  ".join(parts))


def event_object(line: bytes) -> dict[str, Any]:
    """An event for programs: all that the log has."""
    found: dict[str, Any] = json.loads(line)
    return found


def _what(data: dict[str, str | int]) -> str:
    if name := data.get("KeyName"):
        return f": '{name}'"
    if "ChannelName" in data:
        return f": {data['ChannelName']} from {data.get('OldLevel')} to {data.get('NewLevel')}"
    if name := data.get("ProviderName"):
        return f": '{name}'"
    return ""
