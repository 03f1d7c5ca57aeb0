"""Subjects of the attack suite, and what it needs of the machine."""

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyiso.trustlet.arming.memory_lock import may_lock_everything
from tests.attack.subject import Subject
from tests.attack.subjects import Subjects
from tests.attack.target import Kind

StartSubject = Callable[[Kind], Subject]


@pytest.fixture(scope="session", autouse=True)
def locked_memory() -> None:
    """A pair needs some thirty MiB of locked memory."""
    _, limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not may_lock_everything("self") and 0 <= limit < 64 << 20:
        pytest.skip(f"RLIMIT_MEMLOCK is {limit >> 20} MiB here: run as root, or raise it")


@pytest.fixture
def start_subject() -> Iterator[StartSubject]:
    """Starts workers that end with the test."""
    with ExitStack() as stack:

        def start(kind: Kind) -> Subject:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return stack.enter_context(Subject(kind, directory))

        yield start


@pytest.fixture(scope="module")
def subjects() -> Iterator[Subjects]:
    """Subjects of each kind for the tests of a module."""
    with Subjects() as subjects:
        yield subjects


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What only root can try proves nothing when somebody else tries it."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.attack)
    if os.geteuid() == 0:
        return
    for item in items:
        if "test_attacks" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="the attacks are root's"))
