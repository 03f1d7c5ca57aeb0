"""AES in CNG's chaining modes, with the vectors of those who defined them."""

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.ciphers import CipherParameters, Mode, decipher, encipher
from keyiso.crypto.key_types import SymmetricKey
from keyiso.errors import NCryptError
from keyiso.status import Status

KEY = SymmetricKey(bytes(range(32)))
NONCE, IV = b"n" * 12, b"v" * 16

GCM = CipherParameters("ChainingModeGCM", NONCE, b"associated")
CBC = CipherParameters("ChainingModeCBC", IV)
PADDED = CipherParameters("ChainingModeCBC", IV, b"", True)


def status_of_enciphering(message: bytes, parameters: CipherParameters) -> int:
    with pytest.raises(NCryptError) as caught:
        encipher(KEY, message, parameters)
    return caught.value.status


def status_of_deciphering(
    ciphertext: bytes, parameters: CipherParameters, key: SymmetricKey = KEY
) -> int:
    with pytest.raises(NCryptError) as caught:
        decipher(key, ciphertext, parameters)
    return caught.value.status


@pytest.mark.parametrize(
    ("mode", "key", "nonce", "message", "ciphertext"),
    [
        (  # The Galois/Counter Mode of Operation, test case 14
            "ChainingModeGCM",
            "00" * 32,
            "00" * 12,
            "00" * 16,
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (  # the same, test case 2
            "ChainingModeGCM",
            "00" * 16,
            "00" * 12,
            "00" * 16,
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
        ),
        (  # SP 800-38A, F.2.1
            "ChainingModeCBC",
            "2b7e151628aed2a6abf7158809cf4f3c",
            "000102030405060708090a0b0c0d0e0f",
            "6bc1bee22e409f96e93d7e117393172a",
            "7649abac8119b246cee98e9b12e9197d",
        ),
    ],
)
def test_known_answers(mode: Mode, key: str, nonce: str, message: str, ciphertext: str) -> None:
    aes = SymmetricKey(bytes.fromhex(key))
    parameters = CipherParameters(mode, bytes.fromhex(nonce))

    assert encipher(aes, bytes.fromhex(message), parameters).hex() == ciphertext
    assert decipher(aes, bytes.fromhex(ciphertext), parameters).hex() == message


@given(message=st.binary(max_size=200), associated=st.binary(max_size=50))
def test_what_was_enciphered_is_deciphered(message: bytes, associated: bytes) -> None:
    gcm = CipherParameters("ChainingModeGCM", NONCE, associated)
    blocks = message[: len(message) // 16 * 16]

    assert decipher(KEY, encipher(KEY, message, gcm), gcm) == message
    assert decipher(KEY, encipher(KEY, message, PADDED), PADDED) == message
    assert decipher(KEY, encipher(KEY, blocks, CBC), CBC) == blocks


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32])
def test_padding_is_that_of_pkcs7(size: int) -> None:
    """CNG's programs are not alone in reading it."""
    padder = padding.PKCS7(128).padder()
    padded = padder.update(b"m" * size) + padder.finalize()

    assert encipher(KEY, b"m" * size, PADDED) == encipher(KEY, padded, CBC)
    assert len(padded) % 16 == 0
    assert len(padded) > size


def test_a_byte_that_was_changed_anywhere_is_noticed_by_gcm() -> None:
    ciphertext = encipher(KEY, b"message", GCM)
    for at in range(len(ciphertext)):
        changed = bytearray(ciphertext)
        changed[at] ^= 1
        assert status_of_deciphering(bytes(changed), GCM) == Status.NTE_DECRYPTION_FAILURE


@pytest.mark.parametrize(
    "other",
    [
        CipherParameters("ChainingModeGCM", b"N" * 12, b"associated"),
        CipherParameters("ChainingModeGCM", NONCE, b"something else"),
        CipherParameters("ChainingModeGCM", NONCE),
    ],
)
def test_other_parameters_do_not_open_a_message_of_gcm(other: CipherParameters) -> None:
    assert status_of_deciphering(encipher(KEY, b"message", GCM), other) == (
        Status.NTE_DECRYPTION_FAILURE
    )


def test_another_key_does_not_open_a_message_of_gcm() -> None:
    other = SymmetricKey(bytes(32))

    assert status_of_deciphering(encipher(KEY, b"message", GCM), GCM, other) == (
        Status.NTE_DECRYPTION_FAILURE
    )


@pytest.mark.parametrize("size", range(17))
def test_what_is_shorter_than_a_tag_is_no_message_of_gcm(size: int) -> None:
    assert status_of_deciphering(b"c" * size, GCM) == Status.NTE_DECRYPTION_FAILURE


@pytest.mark.parametrize("last", [b"\0", b"\x11", b"\xff", b"\1\2", b"\3\3\2", b"x" + b"\x10" * 15])
def test_a_padding_that_is_none_is_a_failure(last: bytes) -> None:
    block = last.rjust(16, b"m")
    encryptor = Cipher(algorithms.AES(KEY.value), modes.CBC(IV)).encryptor()
    ciphertext = encryptor.update(block) + encryptor.finalize()
    good = 0 < block[-1] <= 16 and block.endswith(bytes([block[-1]]) * block[-1])

    assert not good
    assert status_of_deciphering(ciphertext, PADDED) == Status.NTE_DECRYPTION_FAILURE


def test_nothing_at_all_has_no_padding() -> None:
    assert status_of_deciphering(b"", PADDED) == Status.NTE_DECRYPTION_FAILURE


MISFITS = {
    "a nonce that is too short": CipherParameters("ChainingModeGCM", b"n" * 11),
    "a nonce that is too long": CipherParameters("ChainingModeGCM", b"n" * 13),
    "no nonce": CipherParameters("ChainingModeGCM", b""),
    "a vector that is too short": CipherParameters("ChainingModeCBC", b"v" * 15),
    "a vector that is too long": CipherParameters("ChainingModeCBC", b"v" * 17),
    "something to authenticate": CipherParameters("ChainingModeCBC", IV, b"a"),
    "the same with padding": CipherParameters("ChainingModeCBC", IV, b"a", True),
}


@pytest.mark.parametrize("parameters", MISFITS.values(), ids=MISFITS)
def test_parameters_that_do_not_fit_are_refused(parameters: CipherParameters) -> None:
    assert status_of_enciphering(b"m" * 16, parameters) == Status.NTE_INVALID_PARAMETER
    assert status_of_deciphering(b"c" * 32, parameters) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("size", [1, 15, 17])
def test_cbc_alone_takes_whole_blocks(size: int) -> None:
    assert status_of_enciphering(b"m" * size, CBC) == Status.NTE_INVALID_PARAMETER
    assert status_of_deciphering(b"c" * size, CBC) == Status.NTE_INVALID_PARAMETER
    assert status_of_deciphering(b"c" * size, PADDED) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("parameters", [GCM, CBC, PADDED], ids=["GCM", "CBC", "padded CBC"])
def test_a_message_above_the_limit_is_refused(parameters: CipherParameters) -> None:
    longer = b"m" * (limits.MESSAGE_BYTES + 16)

    assert status_of_enciphering(longer, parameters) == Status.NTE_INVALID_PARAMETER
    assert status_of_deciphering(longer + b"c" * 16, parameters) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize(
    "parameters",
    [CipherParameters("ChainingModeGCM", NONCE), PADDED],
    ids=["GCM", "padded CBC"],
)
def test_the_longest_message_that_is_enciphered_can_be_deciphered(
    parameters: CipherParameters,
) -> None:
    longest = b"m" * limits.MESSAGE_BYTES

    assert decipher(KEY, encipher(KEY, longest, parameters), parameters) == longest


def test_a_key_is_not_printed() -> None:
    assert KEY.value.hex() not in repr(KEY)
    assert repr(KEY.value) not in repr(KEY)
