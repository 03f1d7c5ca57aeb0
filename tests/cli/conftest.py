"""An instance that tests of a module share, and that each finds without keys."""

from collections.abc import Iterator

import pytest

from keyiso import Key, Provider
from tests.instance import RunningInstance


@pytest.fixture
def without_keys(shared_instance: RunningInstance) -> Iterator[RunningInstance]:
    """The instance of the module. What a test leaves there is deleted."""
    yield shared_instance
    with Provider() as provider:
        for machine in (False, True):
            for found in tuple(provider.keys(machine=machine)):
                Key.open(found.pszName, machine=machine).delete()
