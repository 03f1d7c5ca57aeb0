"""The page about a logon shows what happens."""

from pathlib import Path

from tests.instance import RunningInstance
from tests.pages import check_page

PAGE = Path(__file__).parents[2] / "docs" / "logon.md"


def test_the_page_shows_what_happens(instance: RunningInstance, tmp_path: Path) -> None:
    """Its commands are run, one after the other, and print what stands there."""
    assert check_page(PAGE, tmp_path) >= 9
