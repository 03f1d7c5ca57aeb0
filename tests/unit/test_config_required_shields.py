"""``keyiso.toml``: what an instance requires of ``vbs`` keys."""

from pathlib import Path

import pytest

from keyiso.config.required_shields import FILE_NAME, read_required_shields
from keyiso.required_shields import RequiredShields
from keyiso.status import Status
from tests.conformance.statuses import fails


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("[isolation]\n", set()),
        ("[isolation]\nrequire = []\n", set()),
        ('[isolation]\nrequire = ["vbs", "tpm"]\n', set()),  # they are required in any case
        ('[isolation]\nrequire = ["bpf-lsm"]\n', {"bpf-lsm"}),
        ('[isolation]\nrequire = ["vbs", "latched", "bpf-lsm"]\n', {"latched", "bpf-lsm"}),
    ],
)
def test_what_is_required(tmp_path: Path, text: str, names: set[str]) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(text)
    assert read_required_shields([tmp_path]) == RequiredShields(dict.fromkeys(names, file))


def test_what_one_file_requires_no_other_one_takes_back(tmp_path: Path) -> None:
    own, systems = tmp_path / "own", tmp_path / "systems"
    assert read_required_shields([own, systems]) == RequiredShields()
    for directory in (own, systems):
        directory.mkdir()
    (systems / FILE_NAME).write_text('[isolation]\nrequire = ["latched"]\n')
    (own / FILE_NAME).write_text("[isolation]\nrequire = []\n")
    assert read_required_shields([own, systems]).files == {"latched": systems / FILE_NAME}
    (own / FILE_NAME).write_text('[isolation]\nrequire = ["bpf-lsm"]\n')
    both = read_required_shields([own, systems])
    assert both.files == {"bpf-lsm": own / FILE_NAME, "latched": systems / FILE_NAME}


@pytest.mark.parametrize(
    "text",
    [
        "[isolations]\n",
        '[isolation]\nunseal = "any-start"\n',
        '[isolation]\nrequire = "latched"\n',
        "[isolation]\nrequire = [1]\n",
        '[isolation]\nrequire = [["latched"]]\n',
        '[isolation]\nrequire = ["latch"]\n',
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_file(tmp_path: Path, text: str) -> None:
    """A slip of the pen never means that less is required."""
    (tmp_path / FILE_NAME).write_text(text)
    with fails(Status.NTE_INVALID_PARAMETER) as failed:
        read_required_shields([tmp_path])
    assert str(tmp_path / FILE_NAME) in failed.value.cause
