"""``keyiso key csr``: requests that openssl accepts, distinguished names, alternative names."""

import ipaddress
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from keyiso import Key, KeyUsage
from keyiso.cli.key._subject import alternative_name, subject_of
from tests.cli.command import keyiso, on_terminal
from tests.instance import RunningInstance

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


@pytest.fixture(scope="module")
def web(shared_instance: RunningInstance) -> Key:
    return Key.create("web", "ECDSA_P256", usage=KeyUsage.SIGN)


def openssl(request: Path, *options: str) -> str:
    """What openssl says of a request, after it has found its signature right."""
    ended = subprocess.run(
        ["openssl", "req", "-verify", "-noout", *options, "-in", request],
        capture_output=True,
        text=True,
        check=True,
    )
    # openssl 3.0 has exit code 0 for a wrong signature too.
    assert "verify OK" in ended.stdout + ended.stderr
    return ended.stdout


# --- requests ----------------------------------------------------------------------------------


@needs_openssl
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("RSA", ()),
        ("RSA", ("--hash", "sha512")),
        ("RSA", ("--hash", "SHA3-256")),
        ("ECDSA_P256", ()),
        ("ECDSA_P384", ("--hash", "SHA384")),
        ("ECDSA_P521", ("--hash", "SHA512")),
        ("ED25519", ()),
    ],
)
def test_openssl_accepts_it(
    shared_instance: RunningInstance, tmp_path: Path, algorithm: str, options: tuple[str, ...]
) -> None:
    with Key.create(algorithm, algorithm, overwrite=True) as key:
        public = key.public_key()
    file = tmp_path / "web.csr"
    ended = keyiso(
        *("key", "csr", algorithm, "--subject", "CN=example.org,O=Exämple\\, Inc.,C=DE"),
        *("--san", "www.example.org", "--san", "IP:2001:db8::1", "--san", "email:a@example.org"),
        *("--san", "URI:https://example.org/", "--out", str(file), *options),
    )
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    text = openssl(file, "-text", "-nameopt", "RFC2253,-esc_msb,utf8")
    assert "CN=example.org,O=Exämple\\, Inc.,C=DE" in text
    assert (
        "DNS:www.example.org, IP Address:2001:DB8:0:0:0:0:0:1, email:a@example.org,"
        " URI:https://example.org/"
    ) in text
    request = x509.load_pem_x509_csr(file.read_bytes())
    assert request.is_signature_valid
    assert request.public_key() == public


@needs_openssl
def test_a_name_in_openssls_form_is_openssls_name(web: Key, tmp_path: Path) -> None:
    name = "/C=DE/O=a\\/b, c/OU=x+CN=example.org"
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert keyiso("key", "csr", "web", "--subject", name, "--out", ours).code == 0
    subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", "/dev/null"),
            *("-utf8", "-subj", name, "-out", theirs),
        ],
        check=True,
        capture_output=True,
    )
    assert openssl(ours, "-subject") == openssl(theirs, "-subject")


def test_the_forms_of_a_request(web: Key) -> None:
    request = ("key", "csr", "web", "--subject", "CN=web")
    pem = keyiso(*request)
    assert pem.code == 0 and pem.output.startswith(b"-----BEGIN CERTIFICATE REQUEST-----\n")
    der = keyiso(*request, "--format", "der").output
    made = keyiso(*request, "--json").json
    assert made["key"] == "web"
    for csr in (
        x509.load_pem_x509_csr(pem.output),
        x509.load_der_x509_csr(der),
        x509.load_pem_x509_csr(made["csr"].encode()),
    ):
        assert csr.is_signature_valid
        assert csr.subject.rfc4514_string() == "CN=web"
        assert not csr.extensions


def test_a_request_without_a_subject_names_somebody_else(web: Key) -> None:
    ended = keyiso("key", "csr", "web", "--subject", "", "--san", "example.org")
    assert x509.load_pem_x509_csr(ended.output).subject == x509.Name([])
    ended = keyiso("key", "csr", "web", "--subject", "")
    assert ended.code == 2 and "names nobody" in ended.errors


def test_keys_that_do_not_sign(shared_instance: RunningInstance) -> None:
    for algorithm in ("AES", "ECDH_P256"):
        Key.create(algorithm, algorithm).close()
        ended = keyiso("key", "csr", algorithm, "--subject", "CN=web", "--json")
        assert (ended.code, ended.json["error"]["status"]) == (1, "NTE_BAD_ALGID")
    Key.create("locked", "ECDSA_P256", usage=KeyUsage.AGREE).close()
    ended = keyiso("key", "csr", "locked", "--subject", "CN=web")
    assert ended.code == 8 and "--usage" in ended.errors
    assert keyiso("key", "csr", "nobody", "--subject", "CN=web").code == 3


def test_hashes_that_a_request_does_not_have(web: Key) -> None:
    Key.create("new", "ED25519").close()
    for name, hash_name, code in (("web", "SHA1", 1), ("web", "MD5", 1), ("new", "SHA512", 2)):
        ended = keyiso("key", "csr", name, "--subject", "CN=web", "--hash", hash_name)
        assert (ended.code, ended.output) == (code, b"")
        assert "Traceback" not in ended.errors


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--subject", "example.org"),
        ("--subject", "CN=web", "--san", "IP:example.org"),
        ("--subject", "CN=web", "--json", "--out", "file"),
        ("--subject", "CN=web", "--json", "--format", "der"),
    ],
    ids=" ".join,
)
def test_what_does_not_make_a_request(web: Key, options: tuple[str, ...]) -> None:
    ended = keyiso("key", "csr", "web", *options)
    assert (ended.code, ended.output) == (2, b"")
    assert "Usage: keyiso key csr" in ended.errors


def test_a_name_cannot_steer_the_terminal(web: Key) -> None:
    for evil in ("\x1b[31m=x", "CN=\x1b[31m", "\x1b[31m", "CN=a,\x1b="):
        ended = keyiso("key", "csr", "web", "--subject", evil)
        assert ended.code == 2
        assert all(line.isprintable() for line in ended.errors.splitlines())
    for evil in ("\x1b[31m", "IP:\x1b", "\x1b:x", "fe80::1%\x1b"):
        ended = keyiso("key", "csr", "web", "--subject", "CN=a", "--san", evil)
        assert ended.code == 2
        assert all(line.isprintable() for line in ended.errors.splitlines())


def test_where_it_is_written(web: Key, tmp_path: Path) -> None:
    request = ("key", "csr", "web", "--subject", "CN=web")
    ended = keyiso(*request, "--out", "/dev/full")
    assert (ended.code, ended.errors) == (1, "keyiso: /dev/full: No space left on device\n")
    code, seen = on_terminal(*request, "--format", "der")
    assert code == 2 and b"DER is not printed on a terminal" in seen
    code, seen = on_terminal(*request)
    assert code == 0 and x509.load_pem_x509_csr(seen).is_signature_valid


# --- distinguished names -----------------------------------------------------------------------


def attributes(text: str) -> list[tuple[str, str]]:
    return [(one.oid.dotted_string, str(one.value)) for one in subject_of(text)]


CN, ORG = "2.5.4.3", "2.5.4.10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CN=a,O=b", [(ORG, "b"), (CN, "a")]),
        ("cn = a , o = b c ", [(ORG, "b c"), (CN, "a")]),
        ("/O=b/CN=a", [(ORG, "b"), (CN, "a")]),
        ("2.5.4.3=a", [(CN, "a")]),
        ("CN=a=b", [(CN, "a=b")]),
        (r"CN=a\,b\+c\\", [(CN, "a,b+c\\")]),
        (r"CN=\ a\ ", [(CN, " a ")]),
        (r"CN=\c3\a9\E2\82\AC", [(CN, "é€")]),
        ("/CN=a, b", [(CN, "a, b")]),
        (r"/CN=a\/b", [(CN, "a/b")]),
        (r"CN=\"a\"", [(CN, '"a"')]),
        ('/CN=a "b"', [(CN, 'a "b"')]),
    ],
)
def test_distinguished_names(text: str, expected: list[tuple[str, str]]) -> None:
    assert attributes(text) == expected


def test_several_attributes_in_one_part() -> None:
    name = subject_of("CN=a+OU=b,O=c")
    assert [len(part) for part in name.rdns] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("example.org", "is not TYPE=VALUE"),
        ("CN=a,", "is not TYPE=VALUE"),
        ("CN=a,,O=b", "is not TYPE=VALUE"),
        ("/CN=a//O=b", "is not TYPE=VALUE"),
        ("//", "is not TYPE=VALUE"),
        ("CN=a+", "is not TYPE=VALUE"),
        ('O="a, b"', "backslash"),
        ("CN=#0c0161", "backslash"),
        ("CN=a\\", "backslash"),
        ("CN=\\ff", "not a character in UTF-8"),
        ("CN=", "has no value"),
        ("=a", "is not a type"),
        ("X=a", "is not a type"),
        ("9.9.9=a", "is not a type"),
        ("C=Germany", "two letters"),
        ("C=D*", "cannot have"),
        ("DC=ü", "cannot have"),
        ("CN=" + "a" * 65, "at most 64 bytes"),
        ("CN=a\n", "cannot be printed"),
        ("CN=\ud800", "cannot be printed"),
        ("CN=a+CN=a", "duplicate"),
    ],
)
def test_what_is_no_distinguished_name(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        subject_of(text)


def test_a_name_that_is_written_is_read_again() -> None:
    """What `cryptography` writes in RFC 4514's form, whatever stands in it."""
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(500):
        name = x509.Name(
            [
                x509.NameAttribute(
                    chance.choice((NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)),
                    "".join(chance.choices('aé ,+=/\\"#;<>', k=chance.randint(1, 20))),
                )
                for _ in range(chance.randint(1, 4))
            ]
        )
        assert subject_of(name.rfc4514_string()) == name


# --- alternative names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.org", x509.DNSName("example.org")),
        ("DNS:*.example.org", x509.DNSName("*.example.org")),
        ("dns:xn--mller-kva.de", x509.DNSName("xn--mller-kva.de")),
        ("_sip.example.org", x509.DNSName("_sip.example.org")),
        ("localhost", x509.DNSName("localhost")),
        ("IP:192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
        ("ip:2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
        ("email:me@example.org", x509.RFC822Name("me@example.org")),
        (
            "URI:https://example.org:8443/a?b",
            x509.UniformResourceIdentifier("https://example.org:8443/a?b"),
        ),
        ("uri:urn:uuid:0", x509.UniformResourceIdentifier("urn:uuid:0")),
    ],
)
def test_alternative_names(text: str, expected: x509.GeneralName) -> None:
    assert alternative_name(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1", "IP:192.0.2.1"),
        ("DNS:192.0.2.1", "IP:192.0.2.1"),
        ("2001:db8::1", "IP:2001:db8::1"),
        ("https://example.org", "none of DNS"),
        ("", "not a DNS name"),
        ("DNS:", "not a DNS name"),
        ("a..b", "not a DNS name"),
        ("example.org.", "not a DNS name"),
        ("a b", "not a DNS name"),
        ("-a.org", "not a DNS name"),
        ("www.*.org", "not a DNS name"),
        ("müller.de", "xn--"),
        ("a" * 64 + ".org", "not a DNS name"),
        (".".join(["a" * 63] * 4) + ".org", "not a DNS name"),
        ("IP:192.0.2.0/24", "not an address"),
        ("IP:fe80::1%eth0", "not an address"),
        ("IP:", "not an address"),
        ("email:me", "name@host"),
        ("email:Me <me@example.org>", "name@host"),
        ("URI:example", "not a URI"),
        ("URI:https://ü.de", "not a URI"),
    ],
)
def test_what_is_no_alternative_name(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        alternative_name(text)
