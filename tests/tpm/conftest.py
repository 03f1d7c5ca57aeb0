"""A TPM in software for each test. When a test ends, the TPM holds nothing of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import limits
from tests.tpm import swtpm as software_tpm
from tests.tpm.held_in import NOTHING, held_in
from tests.tpm.swtpm import Swtpm


@pytest.fixture
def swtpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swtpm]:
    """A TPM that was started up."""
    if software_tpm.missing:
        pytest.skip(software_tpm.SKIP_REASON)
    monkeypatch.setattr(limits, "TPM_ANSWER_SECONDS", 30.0)  # a test that hangs says so soon
    process = Swtpm(tmp_path)
    try:
        process.boot()
        yield process
        assert held_in(process) == NOTHING
    finally:
        process.power_off()
