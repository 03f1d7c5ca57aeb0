"""Every parser that reads bytes of another process: bad inputs have documented errors.

``KEYISO_FUZZ_INPUTS`` is how many inputs each parser gets, ``KEYISO_FUZZ_SEED`` repeats a run;
the seed is in the test's name, and a failure shows the input.
"""

import typing

import pytest

from tests.fuzz import (
    file_parsers,
    input_parsers,
    key_parsers,
    passport_parsers,
    prompt_parsers,
    root_parsers,
    wire_parsers,
)
from tests.fuzz.parser import SEED, Parser, fuzz, has_a_good_input
from tests.unit.samples import OPERATIONS, UNIONS, result_type

pytestmark = pytest.mark.fuzz

PARSERS = [
    *wire_parsers.PARSERS,
    *key_parsers.PARSERS,
    *file_parsers.PARSERS,
    *input_parsers.PARSERS,
    *root_parsers.PARSERS,
    *passport_parsers.PARSERS,
    *prompt_parsers.PARSERS,
]


@pytest.mark.parametrize(
    "parser", [pytest.param(one, id=f"{one.name}, seed {SEED}") for one in PARSERS]
)
def test_bad_bytes_have_documented_errors(parser: Parser) -> None:
    has_a_good_input(parser)
    fuzz(parser)


def test_every_operation_and_every_result_is_among_the_good_inputs() -> None:
    asked = {name: {type(one) for one in found} for name, found in wire_parsers.OPERATIONS.items()}
    answers = wire_parsers.RESULTS

    assert asked == {
        name: set(typing.get_args(union) or (union,)) for name, union in UNIONS.items()
    }
    assert {type(answer) for _, answer in answers} == {result_type(one) for _, one in OPERATIONS}
    assert all(isinstance(answer, result_type(type(asked))) for asked, answer in answers)
