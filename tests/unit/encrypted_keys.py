"""PKCS #8 keys under a password, put together by hand (RFC 5958, 8018, 7914)."""

SALT = b"8 octets"
PBES2 = "2a864886f70d01050d"
PBKDF2 = "2a864886f70d01050c"
HMAC_SHA256 = "2a864886f70d0209"
SCRYPT = "2b06010401da47040b"
AES_256_CBC = "60864801650304012a"
PKCS12_3DES = "2a864886f70d010c0103"


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def oid(digits: str) -> bytes:
    return der(0x06, bytes.fromhex(digits))


def number(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encrypted(kind: str, parameters: bytes, data: bytes = bytes(200)) -> bytes:
    return sequence(sequence(oid(kind), parameters), der(0x04, data))


def pbes2(kdf: str, *parameters: bytes, data: bytes = bytes(200)) -> bytes:
    cipher = sequence(oid(AES_256_CBC), der(0x04, bytes(16)))
    derivation = sequence(oid(kdf), sequence(der(0x04, SALT), *parameters))
    return encrypted(PBES2, sequence(derivation, cipher), data)


def pbkdf2(rounds: int, *rest: bytes, data: bytes = bytes(200)) -> bytes:
    return pbes2(PBKDF2, number(rounds), *rest, data=data)


def scrypt(n: int, r: int, p: int, *, data: bytes = bytes(200)) -> bytes:
    return pbes2(SCRYPT, number(n), number(r), number(p), number(32), data=data)


def old_scheme(rounds: int) -> bytes:
    return encrypted(PKCS12_3DES, sequence(der(0x04, SALT), number(rounds)))
