"""The manifest, line by line, as /Microsoft-Windows-Crypto-NCrypt/ has it."""

import re
from pathlib import Path

import pytest

from keyiso.events.journal import message_id
from keyiso.events.records import EVENT_TYPES, Channel, EventType, Level

WRITE = (
    "ProviderName KeyModificationType Flags KeyName KeyFileName ProcessName ProcessId ThreadId"
    " UserId ServiceTag Status"
)
DELETE = (
    "ProviderName Flags DeletionType KeyName KeyFileName ProcessName ProcessId ThreadId UserId"
    " ServiceTag Status"
)
FAILED = "Function Info StatusCode StatusString"
MANIFEST = {
    1: (
        *("Operational", 2, 1, 0x1),
        "OperationType ProviderName KeyName KeyType AlgorithmName Status ProcessName",
    ),
    2: ("Operational", 2, 2, 0x1, "ProviderName Status ProcessName"),
    3: ("Operational", 2, 3, 0x1, "ProviderName KeyName Status ProcessName"),
    4: ("Operational", 2, 4, 0x1, "ProviderName KeyName AlgorithmName Flags Status ProcessName"),
    9: ("Operational", 5, 9, 0x1, WRITE),
    10: ("Operational", 2, 10, 0x1, WRITE),
    11: ("Operational", 5, 11, 0x1, DELETE),
    12: ("Operational", 2, 12, 0x1, DELETE),
    13: ("Operational", 2, 13, 0x4, FAILED),
    14: (
        *("Operational", 2, 13, 0x4),
        f"{FAILED} Client FailuresCount FailuresCountGlobal SuccessCountGlobal",
    ),
    15: (
        *("Operational", 4, 13, 0x8),
        "Client BindingStatusCode BindingStatusString InstanceBindingAttempts",
    ),
    20: ("Operational", 2, 13, 0x8, "ErrorCode SignaledFailure SignaledSuccess"),
    21: ("KeyMgmt", 4, 16, 0x100, WRITE),
    22: ("KeyMgmt", 4, 17, 0x200, DELETE),
    25: ("Operational", 4, 13, 0x8, "Status"),
    26: (
        *("Operational", 4, 13, 0x8),
        "LsaIsoLaunchAttempted Status TotalAttemptedRestarts TotalSuccessfulRestarts CanBeEnabled",
    ),
}
"""Channel, level, task, keywords, fields in their order."""

OWN = [kind for kind in EVENT_TYPES.values() if kind.event_id not in MANIFEST]
PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.mark.parametrize("event_id", MANIFEST)
def test_an_event_is_what_the_manifest_says(event_id: int) -> None:
    kind = EVENT_TYPES[event_id]
    found = (kind.channel, kind.level, kind.task, kind.keywords, " ".join(kind.fields))

    assert found == MANIFEST[event_id]
    assert kind.provider == "Microsoft-Windows-Crypto-NCrypt"


def test_events_of_keyisos_own_have_ids_that_the_manifest_does_not_have() -> None:
    assert [kind.event_id for kind in OWN] == [1000, 1001, 1002, 1003, 1004, 1005, 1006]
    assert {kind.provider for kind in OWN} == {"keyiso"}
    assert [kind.event_id for kind in OWN if kind.always] == [1000]


def test_channels_and_levels_are_the_manifests() -> None:
    assert [channel.value for channel in Channel] == ["Operational", "KeyMgmt"]
    assert [(level.name, level.value) for level in Level] == [
        ("ERROR", 2),
        ("INFORMATION", 4),
        ("VERBOSE", 5),
    ]


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=lambda kind: str(kind.event_id))
def test_the_page_for_users_has_the_event(kind: EventType) -> None:
    row = next(
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(rf"\| {kind.event_id} \|", line)
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]

    assert cells[1:5] == [
        kind.channel.value,
        kind.level.name.lower(),
        str(kind.task),
        f"0x{kind.keywords:X}",
    ]
    assert cells[6] == ", ".join(kind.fields)
    assert message_id(kind.event_id) in PAGE.read_text(encoding="utf-8")
