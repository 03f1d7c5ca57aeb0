"""Key names: what is one, and how it is shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.names import check_name, decode_name, encode_name, printable_name
from keyiso.status import Status

ANY_TEXT = st.text(st.characters())
"""Unpaired surrogates are in it too."""

NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=130)


@given(NAMES)
def test_a_name_is_what_it_was(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@given(st.binary(min_size=1, max_size=60))
def test_all_bytes_that_pass_are_a_string_that_gives_them_back(units: bytes) -> None:
    try:
        check_name(units)
    except NCryptError:
        assert len(units) % 2 or b"\0\0" in {units[at : at + 2] for at in range(0, len(units), 2)}
    else:
        assert decode_name(units).encode("utf-16-le", "surrogatepass") == units


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("a", b"a\0"),
        ("Ω", b"\xa9\x03"),
        ("𝔸", b"\x35\xd8\x38\xdd"),
        ("\ud800", b"\x00\xd8"),
        ("\udc00x", b"\x00\xdcx\0"),
        ("Ā", b"\x00\x01"),
    ],
)
def test_a_name_is_utf_16(name: str, units: bytes) -> None:
    """Also an unpaired surrogate, and a zero byte that is not NUL."""
    assert encode_name(name) == units


@pytest.mark.parametrize(
    ("one", "other"), [("a", "A"), ("é", "e\u0301"), ("ß", "ss"), ("a", "a "), ("ﬁ", "fi")]
)
def test_nothing_is_normalised(one: str, other: str) -> None:
    assert encode_name(one) != encode_name(other)


@pytest.mark.parametrize("name", ["x" * 260, "𝔸" * 130, "../../etc", ".", "/", "a\nb", "\ufeff"])
def test_a_name_may_be_anything_else(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "x" * 261, "𝔸" * 131, "x" * 10_000])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(NCryptError, match="1 to 260 UTF-16 units") as caught:
        encode_name(name)
    assert caught.value.status == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("thing", [None, b"bytes", 7, ["name"]])
def test_what_is_no_string_is_no_name(thing: Any) -> None:
    with pytest.raises(NCryptError, match=type(thing).__name__) as caught:
        encode_name(thing)
    assert caught.value.status == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize(
    "units", [b"", b"a", b"a\0b", b"\0\0", b"a\0\0\0", b"x\0" * 261, b"x" * (2**20 + 1)]
)
def test_what_is_no_name_between_processes(units: bytes) -> None:
    with pytest.raises(NCryptError) as caught:
        check_name(units)
    assert caught.value.status == Status.NTE_INVALID_PARAMETER


def test_the_longest_name_between_processes() -> None:
    check_name(b"x\0" * limits.NAME_UNITS)


@given(ANY_TEXT)
def test_a_printed_name_steers_no_terminal_and_forges_no_line(name: str) -> None:
    shown = printable_name(name)

    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(ANY_TEXT, ANY_TEXT)
def test_two_names_are_not_printed_alike(one: str, other: str) -> None:
    assert (printable_name(one) == printable_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name", "plain name"),
        ("Schlüssel Ω", "Schlüssel Ω"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("back\\slash", r"back\\slash"),
        ("\ud800", r"\ud800"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\x9b", r"\x9b"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(name: str, shown: str) -> None:
    assert printable_name(name) == shown
