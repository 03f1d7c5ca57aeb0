"""Fixtures: an instance of keyiso of its own for a test, with real processes."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import ARMED, missing
from tests.instance import RunningInstance, in_use


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[RunningInstance]:
    """A running instance that this process and its children use; it ends with the test."""
    with in_use(RunningInstance(tmp_path / "home")) as running:
        yield running


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """A running instance that this process uses, for the tests of a module that leave it whole."""
    with in_use(RunningInstance(tmp_path_factory.mktemp("shared") / "home")) as running:
        yield running


@pytest.fixture(scope="session")
def armed_machine() -> None:
    """Skips what needs an armed worker, and says why."""
    if absent := missing(probe_machine(), ARMED):
        pytest.skip(f"this machine arms no worker: {'; '.join(map(str, absent))}")


def pytest_configure() -> None:
    """A shell has what it starts in the background ignore SIGINT, and nohup has it ignore SIGHUP:
    so would our children.

    Clients wait for services longer than they do by default: no test is about how long a machine
    takes that runs many tests at a time, and those about a deadline set their own.
    """
    os.environ.setdefault("KEYISO_DEADLINE", "120")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_report_header() -> str:
    return f"keyiso: {sys.executable}, uid {os.getuid()}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With KEYISO_REQUIRE_ALL=1 a test that would be skipped fails."""
    report = yield
    if os.environ.get("KEYISO_REQUIRE_ALL") == "1" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"KEYISO_REQUIRE_ALL=1: {report.longrepr}"
    return report
