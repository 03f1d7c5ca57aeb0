"""What the restart tests print at the end of a run, also when all is well."""

import pytest

SUMMARIES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUMMARIES] = []


@pytest.fixture(scope="session")
def summaries(request: pytest.FixtureRequest) -> list[str]:
    """What is put here is printed at the end."""
    return request.config.stash[SUMMARIES]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for summary in config.stash[SUMMARIES]:
        terminalreporter.section("restarts")
        terminalreporter.write_line(summary)
