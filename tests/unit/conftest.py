"""Hypothesis without a clock: a slow machine is no failure. And a loop whose clock a test moves."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from keyiso.server.loop import Loop
from tests.unit.fake_clock import FakeClock

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def loop(clock: FakeClock) -> Iterator[Loop]:
    made = Loop(clock)
    yield made
    made.close()
