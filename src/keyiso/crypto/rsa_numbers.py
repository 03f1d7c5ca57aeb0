"""Whether the numbers of an RSA key belong together (RFC 8017, section 3.2).

For keys so long that the library's own check would take from seconds to a minute, in which no
other thread of the process runs.
"""

from cryptography.hazmat.primitives.asymmetric import rsa

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


def check_rsa_numbers(key: rsa.RSAPrivateNumbers) -> None:
    """Raise ``NTE_BAD_DATA`` for numbers that are no RSA key."""
    n, e, d, p, q = key.public_numbers.n, key.public_numbers.e, key.d, key.p, key.q
    fits = (
        min(p, q) > 2
        and p != q
        and p * q == n
        and 2 < e < n
        and 0 < d < n
        and e * d % (p - 1) == 1
        and e * d % (q - 1) == 1
        and key.dmp1 == d % (p - 1)
        and key.dmq1 == d % (q - 1)
        and 0 < key.iqmp < p
        and key.iqmp * q % p == 1
    )
    if not fits or not (_probably_prime(p) and _probably_prime(q)):
        raise _no_rsa_key()


def _probably_prime(number: int) -> bool:
    """One round of Miller and Rabin, with base 2.

    A number of this length that is no prime passes only when it was made to; and whoever makes
    such a key has himself to blame, as it is his own.
    """
    if not number & 1:
        return False
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    power = _power_of_two((number - 1) >> twos, number)
    if power == 1:
        return True
    for _ in range(twos):
        if power == number - 1:
            return True
        power = power * power % number
    return False


def _power_of_two(exponent: int, modulus: int) -> int:
    """As ``pow(2, exponent, modulus)``, in steps between which other threads run."""
    power = 1
    for bit in bin(exponent)[2:]:
        power = (power * power << (bit == "1")) % modulus
    return power


def _no_rsa_key() -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, "the numbers of the RSA key do not belong together")
