"""Assertions of a logon: PyJWT reads and makes the same, and what is not right is not believed."""

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from keyiso import Key, limits
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.signatures import NO_PADDING, Padding, sign_digest
from keyiso.errors import NCryptError
from keyiso.flags import BCRYPT_PAD_PKCS1
from keyiso.passport.assertion import (
    LogonClaims,
    kid_of,
    make_assertion,
    read_assertion,
)
from keyiso.passport.verifier import AssertionVerifier
from keyiso.status import Status
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.unit.fake_clock import FakeClock
from tests.unit.samples import ec_key, rsa_key

AUDIENCE = "host.example"
USER = "ada@host.example"
ALGORITHMS = {"RSA": "RS256", "ECDSA_P256": "ES256"}
"""That sign logons, and what JWA calls their signatures."""


class Held:
    """A key of `cryptography` as a held key is used."""

    def __init__(self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self.key = key

    def public_key(self) -> PublicKey:
        return self.key.public_key()

    def sign_digest(self, digest: bytes, *, hash: str, padding: str | None) -> bytes:
        pad = Padding(BCRYPT_PAD_PKCS1, hash) if padding == "PKCS1" else NO_PADDING
        return sign_digest(self.key, digest, pad)


HELD = {"RSA": Held(rsa_key()), "ECDSA_P256": Held(ec_key())}


@pytest.fixture(params=list(ALGORITHMS))
def held(request: pytest.FixtureRequest) -> Held:
    return HELD[request.param]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verifier(clock: FakeClock) -> AssertionVerifier:
    return AssertionVerifier(AUDIENCE, clock)


def jwa_of(held: Held) -> str:
    return "RS256" if isinstance(held.key, rsa.RSAPrivateKey) else "ES256"


def header_of(held: Held) -> dict[str, Any]:
    return {"alg": jwa_of(held), "typ": "JWT", "kid": kid_of(held.public_key()), "use": "ngc"}


def part(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def token_of(held: Held, header: dict[str, Any], claims: dict[str, Any]) -> bytes:
    """Signed rightly, whatever it says."""
    signed = part(header) + b"." + part(claims)
    digest = hashlib.sha256(signed).digest()
    pad = "PKCS1" if jwa_of(held) == "RS256" else None
    signature = held.sign_digest(digest, hash="SHA256", padding=pad)
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


# --- right ones ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_held_key_signs_what_pyjwt_and_the_verifier_believe(
    shared_instance: RunningInstance, algorithm: str, clock: FakeClock
) -> None:
    verifier = AssertionVerifier(AUDIENCE, clock)
    with Key.create(None, algorithm) as key:
        claims = verifier.begin(USER)
        token = make_assertion(key, claims)

        assert verifier.verify(token, USER, key.public_key()) == claims
        decoded = jwt.decode(
            token,
            key.public_key(),
            algorithms=[ALGORITHMS[algorithm]],
            audience=AUDIENCE,
            issuer=USER,
            options={"verify_iat": False, "verify_exp": False},
        )
        assert decoded == msgspec.to_builtins(claims)
        assert set(decoded) == {"iss", "aud", "iat", "exp", "request_nonce", "scope"}
        assert decoded["exp"] - decoded["iat"] == 60


def test_the_header_is_that_of_windows(held: Held, verifier: AssertionVerifier) -> None:
    token = make_assertion(held, verifier.begin(USER))

    assert jwt.get_unverified_header(token) == header_of(held)


def test_the_key_id_is_the_hash_of_the_public_blob_of_cng() -> None:
    numbers = rsa_key().public_key().public_numbers()
    blob = b"RSA1" + b"".join(
        number.to_bytes(4, "little") for number in (2048, 3, numbers.n.bit_length() // 8, 0, 0)
    )
    blob += numbers.e.to_bytes(3, "big") + numbers.n.to_bytes(256, "big")
    assert kid_of(rsa_key().public_key()) == base64.b64encode(hashlib.sha256(blob).digest()).decode(
        "ascii"
    )

    point = ec_key().public_key().public_numbers()
    blob = (
        b"ECS1"
        + (32).to_bytes(4, "little")
        + b"".join(number.to_bytes(32, "big") for number in (point.x, point.y))
    )
    assert kid_of(ec_key().public_key()) == base64.b64encode(hashlib.sha256(blob).digest()).decode(
        "ascii"
    )


def test_what_pyjwt_makes_is_believed(held: Held, verifier: AssertionVerifier) -> None:
    claims = verifier.begin(USER)
    headers = {"kid": kid_of(held.public_key()), "use": "ngc"}
    token = jwt.encode(msgspec.to_builtins(claims), held.key, jwa_of(held), headers=headers)

    assert verifier.verify(token.encode(), USER, held.public_key()) == claims


@pytest.mark.parametrize("seconds", [0, 59])
def test_it_is_good_for_a_minute(
    held: Held, verifier: AssertionVerifier, clock: FakeClock, seconds: float
) -> None:
    token = make_assertion(held, verifier.begin(USER))
    clock.advance(seconds)
    verifier.verify(token, USER, held.public_key())


# --- replay -------------------------------------------------------------------------------------


def test_it_is_good_once(held: Held, verifier: AssertionVerifier) -> None:
    token = make_assertion(held, verifier.begin(USER))
    verifier.verify(token, USER, held.public_key())
    with fails(Status.ERROR_LOGON_FAILURE) as caught:
        verifier.verify(token, USER, held.public_key())
    assert "was used before" in caught.value.cause


def test_of_many_at_once_one_is_believed(verifier: AssertionVerifier) -> None:
    held = HELD["ECDSA_P256"]
    token = make_assertion(held, verifier.begin(USER))

    def believed(_: int) -> bool:
        try:
            verifier.verify(token, USER, held.public_key())
        except NCryptError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(believed, range(64))).count(True) == 1


def test_the_same_nonce_in_another_assertion_is_not_good_either(
    held: Held, verifier: AssertionVerifier
) -> None:
    claims = verifier.begin(USER)
    verifier.verify(make_assertion(held, claims), USER, held.public_key())
    other = msgspec.structs.replace(claims, scope="openid")
    with fails(Status.ERROR_LOGON_FAILURE):
        verifier.verify(make_assertion(held, other), USER, held.public_key())


def test_another_verifier_does_not_know_the_nonce(
    held: Held, verifier: AssertionVerifier, clock: FakeClock
) -> None:
    """As after a restart."""
    token = make_assertion(held, verifier.begin(USER))
    with fails(Status.ERROR_LOGON_FAILURE):
        AssertionVerifier(AUDIENCE, clock).verify(token, USER, held.public_key())


def test_a_nonce_ends_by_the_clock_that_nobody_sets(
    held: Held, verifier: AssertionVerifier, clock: FakeClock
) -> None:
    claims = verifier.begin(USER)
    clock.advance(limits.LOGON_NONCE_SECONDS)
    later = int(clock.time())
    fresh = msgspec.structs.replace(claims, iat=later, exp=later + 60)
    with fails(Status.ERROR_LOGON_FAILURE) as caught:
        verifier.verify(make_assertion(held, fresh), USER, held.public_key())
    assert "older than 60 seconds" in caught.value.cause


def test_nonces_are_bounded_and_room_comes_back(
    verifier: AssertionVerifier, clock: FakeClock
) -> None:
    nonces = {verifier.begin(USER).request_nonce for _ in range(limits.LOGON_NONCES)}
    assert len(nonces) == limits.LOGON_NONCES
    with fails(Status.KEYISO_E_LIMIT) as caught:
        verifier.begin(USER)
    assert "LOGON_NONCES" in caught.value.cause
    clock.advance(limits.LOGON_NONCE_SECONDS)
    verifier.begin(USER)


def test_a_nonce_has_256_random_bits(clock: FakeClock) -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return b"r" * size

    nonce = AssertionVerifier(AUDIENCE, clock, random).begin(USER).request_nonce
    assert (asked, nonce) == ([32], "72" * 32)


# --- what it says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "eve@host.example"}, "of another user"),
        ({"aud": "other.example"}, "for somebody else"),
        ({"aud": AUDIENCE.upper()}, "for somebody else"),
        ({"iat": 1_700_000_006, "exp": 1_700_000_060}, "from the future"),
        ({"iat": 1_699_999_935, "exp": 1_699_999_995}, "too old"),
        ({"exp": 1_700_000_061}, "other times"),
        ({"exp": 1_700_000_000}, "other times"),
        ({"exp": 1_699_999_999}, "other times"),
        ({"request_nonce": "00" * 32}, "was not given out here"),
    ],
)
def test_a_claim_that_is_not_right_is_refused_with_its_cause(
    held: Held, verifier: AssertionVerifier, changes: dict[str, Any], why: str
) -> None:
    claims = msgspec.structs.replace(verifier.begin(USER), **changes)
    with fails(Status.ERROR_LOGON_FAILURE) as caught:
        verifier.verify(make_assertion(held, claims), USER, held.public_key())
    assert why in caught.value.cause


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": 1_700_000_005, "exp": 1_700_000_060},
        {"iat": 1_699_999_936, "exp": 1_699_999_996},
    ],
)
def test_clocks_may_differ_by_the_leeway(
    held: Held, verifier: AssertionVerifier, changes: dict[str, Any]
) -> None:
    claims = msgspec.structs.replace(verifier.begin(USER), **changes)
    verifier.verify(make_assertion(held, claims), USER, held.public_key())


def test_a_nonce_that_was_given_for_another_user_is_not_good(
    held: Held, verifier: AssertionVerifier
) -> None:
    claims = msgspec.structs.replace(verifier.begin("eve"), iss=USER)
    with fails(Status.ERROR_LOGON_FAILURE) as caught:
        verifier.verify(make_assertion(held, claims), USER, held.public_key())
    assert "another user" in caught.value.cause


# --- signatures ---------------------------------------------------------------------------------


def test_another_key_of_the_same_kind_is_refused(verifier: AssertionVerifier) -> None:
    enrolled, other = ec_key().public_key(), Held(ec.generate_private_key(ec.SECP256R1()))
    claims = verifier.begin(USER)
    with fails(Status.NTE_BAD_SIGNATURE):
        verifier.verify(make_assertion(other, claims), USER, enrolled)
    posing = token_of(other, header_of(HELD["ECDSA_P256"]), msgspec.to_builtins(claims))
    with fails(Status.NTE_BAD_SIGNATURE):
        verifier.verify(posing, USER, enrolled)


def test_the_name_of_another_key_is_refused(held: Held, verifier: AssertionVerifier) -> None:
    claims = msgspec.to_builtins(verifier.begin(USER))
    for kid in ("", kid_of(rsa.generate_private_key(65537, 2048).public_key())):
        with fails(Status.NTE_BAD_SIGNATURE):
            verifier.verify(
                token_of(held, {**header_of(held), "kid": kid}, claims), USER, held.public_key()
            )


def test_a_changed_bit_anywhere_is_refused(held: Held, verifier: AssertionVerifier) -> None:
    token = make_assertion(held, verifier.begin(USER))
    for at in range(0, len(token), 7):
        for changed in (token[at] ^ 1, token[at] ^ 0x20):
            with pytest.raises(NCryptError):
                verifier.verify(
                    token[:at] + bytes([changed]) + token[at + 1 :], USER, held.public_key()
                )
    verifier.verify(token, USER, held.public_key())  # nothing of that used the nonce up


ALGORITHM_NAMES = [
    "none", "None", "NONE", "", "HS256", "HS512", "RS256", "RS384", "PS256", "ES256", "ES384",
    "ES256K", "EdDSA", "rs256", "es256",
]  # fmt: skip


@pytest.mark.parametrize("name", ALGORITHM_NAMES)
def test_only_the_algorithm_of_the_enrolled_key_is_taken(
    held: Held, verifier: AssertionVerifier, name: str
) -> None:
    claims = msgspec.to_builtins(verifier.begin(USER))
    token = token_of(held, {**header_of(held), "alg": name}, claims)
    if name == jwa_of(held):
        verifier.verify(token, USER, held.public_key())
        return
    unsigned = token.rpartition(b".")[0] + b"."
    for one in (token, unsigned):
        with fails(Status.NTE_BAD_ALGID):
            verifier.verify(one, USER, held.public_key())


def test_a_public_key_is_no_secret_of_an_hmac(held: Held, verifier: AssertionVerifier) -> None:
    """The oldest attack on JWT: the verifier takes the public key for a shared secret."""
    claims = part(msgspec.to_builtins(verifier.begin(USER)))
    for encoding, name in itertools.product(
        (serialization.Encoding.PEM, serialization.Encoding.DER), ("HS256", jwa_of(held))
    ):
        secret = held.public_key().public_bytes(
            encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = part({**header_of(held), "alg": name}) + b"." + claims
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
        with pytest.raises(NCryptError) as caught:
            verifier.verify(signed + b"." + mac, USER, held.public_key())
        assert caught.value.status in (Status.NTE_BAD_ALGID, Status.NTE_BAD_SIGNATURE)


def test_a_token_does_not_bring_its_own_key(verifier: AssertionVerifier) -> None:
    thief = Held(ec.generate_private_key(ec.SECP256R1()))
    claims = msgspec.to_builtins(verifier.begin(USER))
    for field in ("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"):
        token = token_of(thief, {**header_of(HELD["ECDSA_P256"]), field: ["x"]}, claims)
        with fails(Status.NTE_BAD_DATA):
            verifier.verify(token, USER, ec_key().public_key())


def test_other_signatures_over_the_same_are_refused(verifier: AssertionVerifier) -> None:
    """DER of ECDSA, PSS of RSA, another hash."""
    for held in HELD.values():
        signed = part(header_of(held)) + b"." + part(msgspec.to_builtins(verifier.begin(USER)))
        for signature in _others(held.key, signed):
            token = signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
            with fails(Status.NTE_BAD_SIGNATURE):
                verifier.verify(token, USER, held.public_key())


def _others(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, signed: bytes) -> list[bytes]:
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return [
            key.sign(signed, pss, hashes.SHA256()),
            key.sign(signed, padding.PKCS1v15(), hashes.SHA512()),
            bytes(256),
        ]
    der = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    r, s = utils.decode_dss_signature(der)
    return [der, bytes(64), s.to_bytes(32, "big") + r.to_bytes(32, "big")]


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_other_keys_sign_no_logons(verifier: AssertionVerifier, curve: ec.EllipticCurve) -> None:
    other = Held(ec.generate_private_key(curve))
    with fails(Status.NTE_NOT_SUPPORTED):
        make_assertion(other, verifier.begin(USER))
    with fails(Status.NTE_NOT_SUPPORTED):
        token = make_assertion(HELD["RSA"], verifier.begin(USER))
        verifier.verify(token, USER, other.public_key())


# --- the token ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alg", "kid", "iss", "aud", "iat", "exp", "request_nonce"])
def test_a_field_that_is_missing_or_of_another_type_is_refused(
    verifier: AssertionVerifier, name: str
) -> None:
    held = HELD["ECDSA_P256"]
    fields = header_of(held), msgspec.to_builtins(verifier.begin(USER))
    values: list[object] = [None, [], {}] + (
        [True, 1.5, -1, 1 << 53] if name in ("iat", "exp") else []
    )
    for header, claims in (
        (_without(name, fields[0]), _without(name, fields[1])),
        *((_with(name, value, fields[0]), _with(name, value, fields[1])) for value in values),
    ):
        with fails(Status.NTE_BAD_DATA):
            verifier.verify(token_of(held, header, claims), USER, held.public_key())


def _without(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _with(name: str, value: object, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, name: value} if name in fields else fields


@pytest.mark.parametrize(
    "change",
    [
        lambda token: b"",
        lambda token: b"..",
        lambda token: token.replace(b".", b"", 1),
        lambda token: token + b".",
        lambda token: token + b"=",
        lambda token: token + b"\n",
        lambda token: b" " + token,
        lambda token: token.replace(b".", b"=.", 1),
        lambda token: token[:10] + b"\0" + token[10:],
        lambda token: token[:10] + b"+/" + token[12:],
        lambda token: b"e30.e30.",
        lambda token: b"\xff" * 10,
    ],
)
def test_what_is_no_token_is_bad_data(
    verifier: AssertionVerifier, change: Callable[[bytes], bytes]
) -> None:
    token = make_assertion(HELD["RSA"], verifier.begin(USER))
    with fails(Status.NTE_BAD_DATA):
        read_assertion(change(token))


def test_one_assertion_is_one_token() -> None:
    """The last character of base64 has bits that mean nothing; only zeros are taken there."""
    claims = LogonClaims(iss=USER, aud=AUDIENCE, iat=1, exp=2, request_nonce="n")
    token = make_assertion(HELD["ECDSA_P256"], claims)
    taken = []
    for last in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        try:
            taken.append(read_assertion(token[:-1] + bytes([last])).signature)
        except NCryptError:
            continue
    assert len(taken) == len(set(taken)) == 4  # 64 bytes end with two bits in it


def test_a_token_is_bounded(verifier: AssertionVerifier) -> None:
    long = msgspec.structs.replace(verifier.begin(USER), scope="s" * limits.ASSERTION_BYTES)
    with fails(Status.KEYISO_E_LIMIT):
        make_assertion(HELD["RSA"], long)
    with fails(Status.KEYISO_E_LIMIT):
        read_assertion(b"a" * (limits.ASSERTION_BYTES + 1))


def test_a_type_that_is_not_an_assertions_is_refused(verifier: AssertionVerifier) -> None:
    held = HELD["ECDSA_P256"]
    claims = msgspec.to_builtins(verifier.begin(USER))
    for changes in ({"typ": "at+jwt"}, {"use": "sig"}):
        with fails(Status.NTE_BAD_DATA):
            verifier.verify(
                token_of(held, {**header_of(held), **changes}, claims), USER, held.public_key()
            )
