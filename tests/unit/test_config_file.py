"""What every configuration file is refused for: a slip of the pen never means what is usual."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.config import pin_rules, required_shields
from keyiso.status import Status
from tests.conformance.statuses import fails

Read = Callable[[Iterable[Path]], object]

FILES = {
    pin_rules.FILE_NAME: pin_rules.read_pin_rules,
    required_shields.FILE_NAME: required_shields.read_required_shields,
}

files = pytest.mark.parametrize(("name", "read"), FILES.items(), ids=FILES)


@files
@pytest.mark.parametrize(
    "text",
    [
        "[pin",
        "pin = 3",
        "isolation = 1",
        "[other]\n",
        "x = " + "[" * 5000,
        "#" * limits.CONFIG_BYTES + "\n",
        "\udcff",
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_file(
    tmp_path: Path, name: str, read: Read, text: str
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with fails(Status.NTE_INVALID_PARAMETER) as failed:
        read([tmp_path])
    assert str(file) in failed.value.cause


@files
def test_a_file_that_cannot_be_read_is_not_taken_for_none(
    tmp_path: Path, name: str, read: Read
) -> None:
    (tmp_path / name).mkdir()
    with fails(Status.NTE_INVALID_PARAMETER):
        read([tmp_path])


@files
def test_the_longest_file_is_read(tmp_path: Path, name: str, read: Read) -> None:
    (tmp_path / name).write_text("#" * (limits.CONFIG_BYTES - 1) + "\n")
    read([tmp_path])
