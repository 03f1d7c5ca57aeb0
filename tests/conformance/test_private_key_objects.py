"""`Key.private_key()` is a private key like any other: builders, PyJWT, TLS, openssl take it."""

import copy
import datetime
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from keyiso import ExportPolicy, Key, NCryptError
from keyiso.status import Status
from tests.instance import RunningInstance

ALGORITHMS = ("RSA", "ECDSA_P256", "ECDSA_P384", "ED25519")
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LATER = datetime.datetime(2036, 1, 1, tzinfo=datetime.UTC)

pytestmark = [pytest.mark.usefixtures("shared_instance"), pytest.mark.both_levels]


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def hash_for(key: Key) -> hashes.SHA256 | None:
    return None if key.algorithm == "ED25519" else hashes.SHA256()


def certificate(subject: Key, issuer: Key, text: str, *, ca: bool) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(text))
        .issuer_name(name_of("root"))
        .public_key(subject.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(LATER)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(subject.public_key()), critical=False
        )
    )
    if ca:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer.private_key(), hash_for(issuer))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_csr_is_signed(algorithm: str) -> None:
    key = Key.create(None, algorithm)
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name_of("web"))
        .sign(key.private_key(), hash_for(key))
    )

    assert csr.is_signature_valid
    assert csr.public_key() == key.public_key()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_certificate_and_crl_and_ocsp_response_verify(algorithm: str) -> None:
    root, leaf = Key.create(None, algorithm), Key.create(None, "ECDSA_P256")
    root_certificate = certificate(root, root, "root", ca=True)
    leaf_certificate = certificate(leaf, root, "localhost", ca=False)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name_of("root"))
        .last_update(NOW)
        .next_update(LATER)
        .sign(root.private_key(), hash_for(root))
    )
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            leaf_certificate,
            root_certificate,
            hashes.SHA256(),
            ocsp.OCSPCertStatus.GOOD,
            NOW,
            LATER,
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, root_certificate)
        .sign(root.private_key(), hash_for(root))
    )

    leaf_certificate.verify_directly_issued_by(root_certificate)
    assert crl.is_signature_valid(root.public_key())
    assert response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    _check_response(root, response)


def _check_response(root: Key, response: ocsp.OCSPResponse) -> None:
    public, signature = root.public_key(), response.signature
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, response.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(signature, response.tbs_response_bytes)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("algorithm", ("RSA", "ECDSA_P256"))
def test_openssl_verifies_chain_and_pkcs7_message(algorithm: str, tmp_path: Path) -> None:
    root, leaf = Key.create(None, algorithm), Key.create(None, algorithm)
    root_certificate = certificate(root, root, "root", ca=True)
    leaf_certificate = certificate(leaf, root, "localhost", ca=False)
    pem = serialization.Encoding.PEM
    (tmp_path / "root.pem").write_bytes(root_certificate.public_bytes(pem))
    (tmp_path / "leaf.pem").write_bytes(leaf_certificate.public_bytes(pem))
    signer = leaf.private_key()
    assert isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    message = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(b"signed by a key elsewhere")
        .add_signer(leaf_certificate, signer, hashes.SHA256())
        .sign(pem, [])
    )
    (tmp_path / "message.pem").write_bytes(message)

    assert openssl(tmp_path, "verify -CAfile root.pem leaf.pem") == b"leaf.pem: OK\n"
    arguments = "smime -verify -inform PEM -in message.pem -CAfile root.pem -purpose any"
    assert openssl(tmp_path, arguments) == b"signed by a key elsewhere"


def openssl(directory: Path, arguments: str) -> bytes:
    """What openssl prints; it must succeed."""
    ended = subprocess.run(
        ["openssl", *arguments.split()], cwd=directory, check=True, capture_output=True
    )
    return ended.stdout


@pytest.mark.exports_private_key
def test_python_ssl_verifies_a_chain_made_here(tmp_path: Path) -> None:
    """The TLS server's own key is exportable, as Python's ssl wants a file; the CA's is not."""
    root = Key.create(None, "ECDSA_P256")
    server = Key.create(None, "ECDSA_P256", export_policy=ExportPolicy.PLAINTEXT)
    pem = serialization.Encoding.PEM
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        server.private_key().private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate(server, root, "localhost", ca=False).public_bytes(pem)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain)
    trusting = ssl.create_default_context(
        cadata=certificate(root, root, "root", ca=True).public_bytes(pem).decode("ascii")
    )
    here, there = socket.socketpair()

    def serve() -> None:
        with serving.wrap_socket(there, server_side=True) as secured:
            secured.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with trusting.wrap_socket(here, server_hostname="localhost") as secured:
        assert secured.recv(16) == b"hello"
    thread.join()


@pytest.mark.parametrize(
    ("algorithm", "token"),
    [("RSA", "RS256"), ("RSA", "PS256"), ("ECDSA_P256", "ES256"), ("ED25519", "EdDSA")],
)
def test_pyjwt_signs_tokens(algorithm: str, token: str) -> None:
    key = Key.create(None, algorithm)
    encoded = jwt.encode({"sub": "keyiso"}, key.private_key(), algorithm=token)

    assert jwt.decode(encoded, key.public_key(), algorithms=[token]) == {"sub": "keyiso"}


def test_rsa_takes_every_form_that_cryptography_has() -> None:
    key = Key.create(None, "RSA")
    private, public = key.private_key(), key.public_key()
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(public, rsa.RSAPublicKey)
    data, digest = b"data", hashes.Hash(hashes.SHA384())
    digest.update(data)
    hashed = digest.finalize()
    mgf = padding.MGF1(hashes.SHA384())
    for salt in (padding.PSS.MAX_LENGTH, padding.PSS.DIGEST_LENGTH, 17):
        pss = padding.PSS(mgf, salt)
        public.verify(private.sign(data, pss, hashes.SHA384()), data, pss, hashes.SHA384())
    prehashed = utils.Prehashed(hashes.SHA384())
    pkcs1 = padding.PKCS1v15()
    public.verify(private.sign(hashed, pkcs1, prehashed), data, pkcs1, hashes.SHA384())
    info = b"any DigestInfo"
    raw = private.sign(info, pkcs1, utils.NoDigestInfo())
    assert public.recover_data_from_signature(raw, pkcs1, None) == info
    for scheme in (pkcs1, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), b"label")):
        assert private.decrypt(public.encrypt(b"secret", scheme), scheme) == b"secret"
    with pytest.raises(ValueError, match="AUTO"):
        private.sign(data, padding.PSS(mgf, padding.PSS.AUTO), hashes.SHA384())


def test_ecdh_agrees_with_a_key_of_cryptography() -> None:
    ours, theirs = Key.create(None, "ECDH_P384"), ec.generate_private_key(ec.SECP384R1())
    private, public = ours.private_key(), ours.public_key()
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)

    assert private.exchange(ec.ECDH(), theirs.public_key()) == theirs.exchange(ec.ECDH(), public)


@pytest.mark.exports_private_key
def test_private_bytes_follow_the_export_policy() -> None:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    password = serialization.BestAvailableEncryption(b"password")
    clear = serialization.NoEncryption()

    kept = Key.create(None, "ECDSA_P256").private_key()
    for encryption in (clear, password):
        with pytest.raises(NCryptError) as caught:
            kept.private_bytes(pem, pkcs8, encryption)
        assert caught.value.status == Status.NTE_NOT_SUPPORTED

    key = Key.create(None, "ECDSA_P256", export_policy=ExportPolicy.ENCRYPTED)
    encrypted = key.private_key().private_bytes(pem, pkcs8, password)
    loaded = serialization.load_pem_private_key(encrypted, b"password")
    assert loaded.public_key() == key.public_key()
    with pytest.raises(NCryptError):
        key.private_key().private_bytes(pem, pkcs8, clear)

    open_key = Key.create(None, "RSA", export_policy=ExportPolicy.PLAINTEXT)
    private = open_key.private_key()
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.private_numbers().private_key().public_key() == open_key.public_key()


def test_copies_are_the_same_key_and_pickling_is_refused() -> None:
    private = Key.create(None, "ECDSA_P256").private_key()

    assert copy.copy(private) is private
    assert copy.deepcopy(private) is private
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(private)


def test_it_outlives_the_services(shared_instance: RunningInstance) -> None:
    key = Key.create(None, "ECDSA_P256")
    private = key.private_key()
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    private.sign(b"before", ec.ECDSA(hashes.SHA256()))
    shared_instance.kill("keyiso", "software-0", "software-1")
    signature = private.sign(b"after", ec.ECDSA(hashes.SHA256()))

    private.public_key().verify(signature, b"after", ec.ECDSA(hashes.SHA256()))
