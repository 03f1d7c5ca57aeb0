"""The search itself: what it must find, and what it must not take for a find."""

import os
from math import isqrt

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.attack.planted import Planted, plant
from tests.attack.search import WINDOW_BYTES, Factors, Search


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(os.urandom(32), os.urandom(32))


def test_every_form_is_found_wherever_it_lies(planted: Planted) -> None:
    for name, form in planted.forms.items():
        for shift in range(8):
            search = Search(planted.forms)
            search.look(os.urandom(1000 + shift) + form + os.urandom(1000))

            assert name in search.found


def test_what_anybody_may_know_is_no_find(planted: Planted) -> None:
    """The public part of a key is in many places."""
    for key in (planted.rsa_key, planted.ec_key):
        for encoding in (Encoding.DER, Encoding.PEM):
            public = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            search = Search(planted.forms)
            search.look(public)

            assert search.found == set()


def test_every_encoding_of_a_key_is_found(planted: Planted) -> None:
    for key, name in ((planted.rsa_key, "RSA"), (planted.ec_key, "EC")):
        for encoding, form in ((Encoding.DER, "DER"), (Encoding.PEM, "PEM")):
            search = Search(planted.forms)
            search.look(key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()))

            assert f"{name} {form}" in search.found


def test_a_prime_is_found_of_which_only_the_modulus_is_known(planted: Planted) -> None:
    modulus = planted.rsa_key.public_key().public_numbers().n
    prime = planted.forms["q limbs"]
    for data, there in ((os.urandom(80) + prime + bytes(8), True), (os.urandom(10_000), False)):
        factors = Factors(modulus)
        factors.look(data)

        assert factors.found is there


def test_the_smallest_prime_of_its_length_is_found_too() -> None:
    """Its second highest bit is not set: that is so in one of seven."""
    small, large = (isqrt(1 << 2047) | 1, (1 << 1024) - 1)
    factors = Factors(small * large)
    factors.look(bytes(80) + small.to_bytes(128, "little"))

    assert factors.found


def test_a_form_that_lies_across_two_pieces_is_found(planted: Planted) -> None:
    for before in (65536 - 200, 65536 - 8, 65536):
        search = Search(planted.forms)
        search.look(os.urandom(before) + planted.forms["p limbs"] + os.urandom(70000))

        assert "p limbs" in search.found


def test_a_window_of_a_form_is_enough(planted: Planted) -> None:
    form = planted.forms["d big-endian"]
    window = form[101 : 101 + WINDOW_BYTES + 7]
    search = Search(planted.forms)
    search.look(os.urandom(33) + window + os.urandom(33))

    assert "d big-endian" in search.found


def test_less_than_a_window_is_no_find(planted: Planted) -> None:
    form = planted.forms["d big-endian"]
    search = Search(planted.forms)
    search.look(bytes(100) + form[96 : 96 + WINDOW_BYTES - 1] + bytes(100))

    assert search.found == set()


def test_chance_and_emptiness_are_no_finds(planted: Planted) -> None:
    search = Search(planted.forms)
    search.look(os.urandom(1 << 20))
    search.look(bytes(1 << 20))

    assert search.found == set()


def test_a_word_in_a_register_is_found(planted: Planted) -> None:
    search = Search(planted.limbs)

    assert search.words(bytes(64) + planted.forms["p limbs"][16:24]) == {("p limbs", 16)}
