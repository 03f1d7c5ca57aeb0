"""RSA keys that are too long to be made for a test, of primes that are known.

The primes are those of RFC 3526 and RFC 7919, which come from the digits of pi and e.
"""

import functools
import math

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_MODP_OFFSETS = {4096: 240904, 8192: 4743158}
_FFDHE_OFFSETS = {4096: 5736041, 8192: 10965728}
_GUARD_BITS = 64


@functools.cache
def long_rsa_numbers(bits: int) -> rsa.RSAPrivateNumbers:
    """The numbers of a key of 8192 or 16384 bits."""
    half = bits // 2
    digits = half - 130
    p = _prime(half, _pi(digits) + _MODP_OFFSETS[half])
    q = _prime(half, _e(digits) + _FFDHE_OFFSETS[half])
    d = pow(65537, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)


def pkcs8_of(numbers: rsa.RSAPrivateNumbers) -> bytes:
    """DER PKCS #8, of numbers that nobody has looked at."""
    return numbers.private_key(unsafe_skip_rsa_key_validation=True).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _prime(bits: int, middle: int) -> int:
    return (1 << bits) - (1 << bits - 64) + (middle << 64) - 1


def _pi(digits: int) -> int:
    """Binary digits after the point and before it (Machin)."""
    one = 1 << digits + _GUARD_BITS
    return 4 * (4 * _arctan_of_inverse(5, one) - _arctan_of_inverse(239, one)) >> _GUARD_BITS


def _arctan_of_inverse(number: int, one: int) -> int:
    power = one // number
    total, odd, sign = power, 3, -1
    while power:
        power //= number * number
        total += sign * (power // odd)
        odd, sign = odd + 2, -sign
    return total


def _e(digits: int) -> int:
    total = term = 1 << digits + _GUARD_BITS
    count = 1
    while term:
        term //= count
        total += term
        count += 1
    return total >> _GUARD_BITS
