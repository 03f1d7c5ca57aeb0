"""Well-formed messages with absurd values: what a peer may put into a field is checked, not
believed, and ends in an error of NCrypt."""

import contextlib

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.agreement import Derivation, KdfParameter, derive
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, check_length
from keyiso.crypto.ciphers import CipherParameters, decipher, encipher
from keyiso.crypto.digests import HASH_NAMES
from keyiso.crypto.encryption import EncryptionPadding, decrypt_rsa, encrypt_rsa
from keyiso.crypto.key_header import KeyHeader, Right
from keyiso.crypto.key_types import AsymmetricPrivateKey as PrivateKey
from keyiso.crypto.key_types import SymmetricKey
from keyiso.crypto.private_export import export_private_key
from keyiso.crypto.signatures import Padding, sign_digest, verify_digest
from keyiso.errors import NCryptError
from keyiso.flags import NCRYPT_NO_PADDING_FLAG, NCRYPT_PAD_PKCS1_FLAG
from keyiso.keyiso_service.access import Authority, check_right
from keyiso.keyiso_service.terms import check_terms
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.key_terms import KeyTerms
from tests.fuzz.parser import INPUTS
from tests.unit.samples import CURVES, INTEGERS, ec_key, header, rsa_key, structs

pytestmark = pytest.mark.fuzz

EXAMPLES = max(1, INPUTS // 100)

many = settings(max_examples=EXAMPLES)

PADDINGS = st.builds(
    Padding,
    st.sampled_from([0, 2, 8]) | INTEGERS,
    st.sampled_from(["", *HASH_NAMES]) | st.text(max_size=20),
    st.integers(-1, limits.SALT_BYTES + 1) | INTEGERS,
)

DIGESTS = st.sampled_from([20, 32, 48, 64]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
) | st.binary(max_size=300)

KEYS = [rsa_key(), *map(ec_key, CURVES)]


@pytest.mark.parametrize("key", KEYS, ids=["RSA", *CURVES])
@given(digest=DIGESTS, pad=PADDINGS)
@many
def test_any_padding_and_hash_is_signed_or_refused(
    key: PrivateKey, digest: bytes, pad: Padding
) -> None:
    try:
        signature = sign_digest(key, digest, pad)
    except NCryptError as error:
        assert error.status in (Status.NTE_INVALID_PARAMETER, Status.NTE_NOT_SUPPORTED)
    else:
        verify_digest(key.public_key(), digest, signature, pad)


@pytest.mark.parametrize("key", KEYS, ids=["RSA", *CURVES])
@given(digest=DIGESTS, pad=PADDINGS, data=st.data())
@many
def test_any_signature_is_refused(
    key: PrivateKey, digest: bytes, pad: Padding, data: st.DataObject
) -> None:
    size = (key.key_size + 7) // 8 * (1 if key is KEYS[0] else 2)
    signature = data.draw(st.binary(min_size=size, max_size=size) | st.binary(max_size=300))

    with pytest.raises(NCryptError) as caught:
        verify_digest(key.public_key(), digest, signature, pad)
    assert caught.value.status in (
        Status.NTE_BAD_SIGNATURE,
        Status.NTE_INVALID_PARAMETER,
        Status.NTE_NOT_SUPPORTED,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
@given(bits=st.integers(0, 20_000) | INTEGERS)
@many
def test_any_length_is_one_of_the_algorithms_or_not_supported(
    algorithm: Algorithm, bits: int
) -> None:
    try:
        check_length(algorithm, bits)
    except NCryptError as error:
        assert error.status == Status.NTE_NOT_SUPPORTED
    else:
        assert bits in (128, 192, 256, 384, 521) or (1024 <= bits <= 16384 and bits % 8 == 0)


@given(terms=structs(KeyTerms), imported=st.booleans())
@many
def test_any_terms_are_refused_or_those_of_a_key(terms: KeyTerms, imported: bool) -> None:
    with contextlib.suppress(NCryptError):
        check_terms(terms, 1000, imported=imported)
        assert terms.owner == 1000
        assert len(terms.operation_id) == limits.OPERATION_ID_BYTES
        assert terms.lifetime != "persisted" or 2 <= len(terms.name) <= 2 * limits.NAME_UNITS
        assert 0 <= terms.export_policy < 32


@given(
    header=structs(KeyHeader),
    uid=st.integers(1, 2**32 - 2),
    right=st.sampled_from([Right.USE, Right.MANAGE]),
)
@many
def test_any_access_list_gives_only_what_it_names(
    header: KeyHeader, uid: int, right: Right
) -> None:
    """Names are what the store's check lets through; everything else is anything."""
    if len(header.name) % 2:
        header = KeyHeader(
            **{n: getattr(header, n) for n in header.__struct_fields__} | {"name": b""}
        )
    peer = Peer(1, uid, uid, frozenset({uid}))
    named = [
        entry
        for entry in header.access
        if entry.kind in ("uid", "gid") and entry.principal == str(uid)
    ]
    try:
        check_right(header, peer, right)
    except NCryptError as error:
        assert error.status in (Status.NTE_BAD_KEYSET, Status.NTE_PERM)
    else:
        assert any(entry.rights & right for entry in named)


@given(uid=st.integers(0, 2**32 - 1), gid=st.integers(0, 2**32 - 1), system=st.booleans())
@many
def test_any_peer_manages_the_machine_only_as_a_manager(uid: int, gid: int, system: bool) -> None:
    authority = Authority(system, frozenset({0, 7}), frozenset({70}))
    try:
        authority.check_manages_machine(Peer(1, uid, gid, frozenset({gid})))
    except NCryptError as error:
        assert error.status == Status.NTE_PERM
        assert uid not in (0, 7)
        assert gid != 70
    else:
        assert uid in (0, 7) or gid == 70


# --- what is done with keys --------------------------------------------------------------------

AES = SymmetricKey(b"k" * 32)

DERIVATIONS = st.builds(
    Derivation,
    st.sampled_from(["HASH", "HMAC", "HKDF", "TRUNCATE"]) | st.text(max_size=10),
    st.lists(
        st.builds(
            KdfParameter,
            st.integers(0, 20) | INTEGERS,
            st.sampled_from([name.encode("utf-16-le") for name in HASH_NAMES])
            | st.binary(max_size=40),
        ),
        max_size=4,
    ).map(tuple),
    st.integers(0, 3) | INTEGERS,
    st.integers(-1, limits.DERIVED_KEY_BYTES + 1) | INTEGERS,
)

CIPHERS = st.builds(
    CipherParameters,
    st.sampled_from(["ChainingModeGCM", "ChainingModeCBC"]),
    st.sampled_from([b"n" * 12, b"v" * 16]) | st.binary(max_size=20),
    st.just(b"") | st.binary(max_size=40),
    st.booleans(),
)

ENCRYPTIONS = st.builds(
    EncryptionPadding,
    st.sampled_from([1, 2, 4]) | INTEGERS,
    st.sampled_from(HASH_NAMES) | st.text(max_size=10),
    st.just(b"") | st.binary(max_size=40),
)


@given(secret=st.binary(min_size=32, max_size=66), derivation=DERIVATIONS)
@many
def test_any_derivation_gives_a_key_or_is_refused(secret: bytes, derivation: Derivation) -> None:
    try:
        key = derive(secret, derivation)
    except NCryptError as error:
        assert error.status in (
            Status.NTE_INVALID_PARAMETER,
            Status.NTE_NOT_SUPPORTED,
            Status.NTE_BAD_FLAGS,
        )
    else:
        assert len(key) <= derivation.size or not derivation.size


@given(message=st.binary(max_size=100), parameters=CIPHERS)
@many
def test_any_message_is_enciphered_or_refused(message: bytes, parameters: CipherParameters) -> None:
    try:
        ciphertext = encipher(AES, message, parameters)
    except NCryptError as error:
        assert error.status == Status.NTE_INVALID_PARAMETER
    else:
        assert decipher(AES, ciphertext, parameters) == message


@given(ciphertext=st.binary(max_size=100), parameters=CIPHERS)
@many
def test_any_ciphertext_is_deciphered_or_refused(
    ciphertext: bytes, parameters: CipherParameters
) -> None:
    try:
        message = decipher(AES, ciphertext, parameters)
    except NCryptError as error:
        assert error.status in (Status.NTE_INVALID_PARAMETER, Status.NTE_DECRYPTION_FAILURE)
    else:
        assert parameters.mode == "ChainingModeCBC"
        assert encipher(AES, message, parameters) == ciphertext


@given(message=st.binary(max_size=300), pad=ENCRYPTIONS)
@example(message=b"message", pad=EncryptionPadding(4, "SHA3-256"))
@many
def test_any_message_is_encrypted_or_refused(message: bytes, pad: EncryptionPadding) -> None:
    try:
        ciphertext = encrypt_rsa(rsa_key().public_key(), message, pad)
        if pad.scheme != NCRYPT_NO_PADDING_FLAG:
            assert decrypt_rsa(rsa_key(), ciphertext, pad) == message
    except NCryptError as error:
        assert error.status in (Status.NTE_INVALID_PARAMETER, Status.NTE_NOT_SUPPORTED)


@given(ciphertext=st.binary(min_size=256, max_size=256) | st.binary(max_size=300), pad=ENCRYPTIONS)
@many
def test_any_ciphertext_of_rsa_is_decrypted_or_refused(
    ciphertext: bytes, pad: EncryptionPadding
) -> None:
    assume("SHA3" not in pad.hash_name)  # see the test before
    try:
        decrypt_rsa(rsa_key(), ciphertext, pad)
    except NCryptError as error:
        assert error.status in (
            Status.NTE_INVALID_PARAMETER,
            Status.NTE_NOT_SUPPORTED,
            Status.NTE_DECRYPTION_FAILURE,
        )
    else:
        assert pad.scheme == NCRYPT_PAD_PKCS1_FLAG  # whose random answer is no error


@given(
    blob_type=st.sampled_from(["PKCS8_PRIVATEKEY", "PRIVATEBLOB", "KeyDataBlob"]) | st.text(),
    password=st.binary(max_size=100),
    policy=st.integers(0, 31) | INTEGERS,
    data=st.data(),
)
@many
def test_any_export_is_allowed_or_refused(
    blob_type: str, password: bytes, policy: int, data: st.DataObject
) -> None:
    keys: dict[str, PrivateKey | SymmetricKey]
    keys = {"RSA": rsa_key(), "ECDSA_P256": ec_key(), "AES": AES}
    algorithm = data.draw(st.sampled_from(sorted(keys)))
    try:
        export_private_key(
            keys[algorithm], header(algorithm=algorithm, export_policy=policy), blob_type, password
        )
    except NCryptError as error:
        assert error.status in (
            Status.NTE_NOT_SUPPORTED,
            Status.NTE_BAD_TYPE,
            Status.NTE_INVALID_PARAMETER,
        )
    else:
        assert policy & 3
