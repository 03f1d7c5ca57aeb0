"""Whether the numbers of an RSA key belong together."""

from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from keyiso import limits
from keyiso.crypto.private_keys import imported_private_key
from keyiso.crypto.rsa_numbers import check_rsa_numbers
from keyiso.errors import NCryptError
from keyiso.flags import NCRYPT_ALLOW_ALL_USAGES
from keyiso.status import Status
from tests.long_rsa import long_rsa_numbers, pkcs8_of
from tests.unit.samples import rsa_key


@dataclass(frozen=True)
class Numbers:
    """An RSA key whose numbers can be changed one by one."""

    p: int
    q: int
    d: int
    dmp1: int
    dmq1: int
    iqmp: int
    e: int
    n: int

    @classmethod
    def of(cls, key: rsa.RSAPrivateNumbers) -> "Numbers":
        public = key.public_numbers
        return cls(key.p, key.q, key.d, key.dmp1, key.dmq1, key.iqmp, public.e, public.n)

    @classmethod
    def of_primes(cls, p: int, q: int) -> "Numbers":
        """What is right if both are primes."""
        d = pow(65537, -1, (p - 1) * (q - 1))
        return cls(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), 65537, p * q)

    @property
    def key(self) -> rsa.RSAPrivateNumbers:
        public = rsa.RSAPublicNumbers(self.e, self.n)
        return rsa.RSAPrivateNumbers(
            self.p, self.q, self.d, self.dmp1, self.dmq1, self.iqmp, public
        )

    @property
    def belong_together(self) -> bool:
        try:
            check_rsa_numbers(self.key)
        except NCryptError as error:
            assert error.status == Status.NTE_BAD_DATA
            return False
        return True


@pytest.fixture(scope="module")
def right() -> Numbers:
    return Numbers.of(rsa_key().private_numbers())


def test_a_key_that_was_generated_is_one(right: Numbers) -> None:
    assert right.belong_together


def test_the_primes_may_change_places(right: Numbers) -> None:
    assert Numbers.of_primes(right.q, right.p).belong_together


@pytest.mark.parametrize("field", ["p", "q", "d", "dmp1", "dmq1", "iqmp", "e", "n"])
@pytest.mark.parametrize("change", [2, -2, "0", "1", "negative", "twice"])
def test_each_number_counts(right: Numbers, field: str, change: object) -> None:
    value = getattr(right, field)
    changed = {"0": 0, "1": 1, "negative": -value, "twice": 2 * value}.get(str(change))
    if changed is None:
        assert isinstance(change, int)
        changed = value + change

    assert not replace(right, **{field: changed}).belong_together


def test_factors_that_are_no_primes(right: Numbers) -> None:
    """With everything else computed as if they were."""
    composite = next(
        number
        for number in range(right.p + 2, right.p + 10_000, 2)
        if number % 3 == 0 and (number - 1) % 65537
    )

    assert not Numbers.of_primes(composite, right.q).belong_together
    assert not Numbers.of_primes(right.p, composite).belong_together
    assert not Numbers.of_primes(right.p, right.q + 1).belong_together


def test_small_primes_are_told_from_what_is_none() -> None:
    for p in range(3, 200, 2):
        for q in (211, 223):
            if (p - 1) * (q - 1) % 5:
                d = pow(5, -1, (p - 1) * (q - 1))
                numbers = Numbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), 5, p * q)
                assert numbers.belong_together == all(p % n for n in range(2, p)), (p, q)


def test_one_prime_twice_is_no_key(right: Numbers) -> None:
    assert not replace(right, q=right.p, n=right.p * right.p).belong_together


def test_a_long_key_is_validated_without_the_library() -> None:
    """Whose validation would hold every thread up: it is the same verdict."""
    numbers = long_rsa_numbers(8192)
    assert numbers.public_numbers.n.bit_length() == 8192 > limits.SHORT_RSA_BITS

    key, algorithm = imported_private_key(pkcs8_of(numbers), NCRYPT_ALLOW_ALL_USAGES)
    assert algorithm.name == "RSA"
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.private_numbers() == numbers

    wrong = replace(Numbers.of(numbers), dmp1=numbers.dmp1 ^ 2).key
    with pytest.raises(NCryptError) as caught:
        imported_private_key(pkcs8_of(wrong), NCRYPT_ALLOW_ALL_USAGES)
    assert caught.value.status == Status.NTE_BAD_DATA
