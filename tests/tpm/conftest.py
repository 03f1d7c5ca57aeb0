"""A TPM in software for each test. When a test ends, the TPM holds nothing of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.tpm.capabilities import handles
from keyiso.tpm.constants import TPM_HT
from tests.tpm import swtpm as software_tpm
from tests.tpm.swtpm import Swtpm


def held(tpm_process: Swtpm) -> dict[str, int]:
    """How many objects and sessions a TPM holds."""
    with tpm_process.opened() as tpm:
        return {
            kind.name: len(handles(tpm, kind))
            for kind in (TPM_HT.TRANSIENT, TPM_HT.LOADED_SESSION, TPM_HT.SAVED_SESSION)
        }


NOTHING = {"TRANSIENT": 0, "LOADED_SESSION": 0, "SAVED_SESSION": 0}


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
        assert held(process) == NOTHING
    finally:
        process.power_off()
