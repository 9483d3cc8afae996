"""The connection to the mail server: credentials, TLS, bounds in time."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from functions._platform.auth.delivery.message import MailError
from tests.functions._platform.auth.delivery.smtp_server import mailer, send


async def test_user_and_password_are_presented(server, listen):
    port = listen(auth_require_tls=False, authenticator=server.authenticate)
    await send(mailer(port, smtp_user="me", smtp_pass="right"))
    assert server.logins == [(b"me", b"right", False)]
    assert len(server.mails) == 1


async def test_a_wrong_password_is_no_delivery_and_in_no_log(server, listen, caplog):
    port = listen(auth_require_tls=False, authenticator=server.authenticate)
    with pytest.raises(MailError, match="SMTPAuthenticationError 535"):
        await send(mailer(port, smtp_user="me", smtp_pass="wrong-secret"))
    assert "wrong-secret" not in caplog.text


async def test_no_password_without_tls_to_another_machine(server, listen, monkeypatch):
    """STARTTLS stripping: the offer is missing, and the password is not sent."""
    monkeypatch.setattr("functions._platform.auth.delivery.smtp._is_this_machine", lambda _: False)
    port = listen(auth_require_tls=False, authenticator=server.authenticate)
    with pytest.raises(MailError):
        await send(mailer(port, smtp_user="me", smtp_pass="right"))
    assert server.logins == []


async def test_a_silent_server_is_given_up(server, listen, monkeypatch):
    monkeypatch.setattr("functions._platform.auth.delivery.smtp.DELIVER_S", 0.1)
    server.go.clear()
    with pytest.raises(MailError, match="Timeout"):
        await send(mailer(listen()))
    server.go.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    crt, pem = folder / "crt.pem", folder / "key.pem"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


@pytest.fixture
def context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def test_starttls_is_used_where_it_is_offered(
    server, listen, context, certificate, monkeypatch
):
    trusting(monkeypatch, certificate[0])
    await send(mailer(listen(tls_context=context)))
    assert server.mails[0]["X-Envelope"].endswith("True")


async def test_a_certificate_that_nobody_vouches_for_is_refused(server, listen, context):
    with pytest.raises(MailError, match="SSLCertVerificationError"):
        await send(mailer(listen(tls_context=context)))
    assert server.mails == []


async def test_implicit_tls_on_its_port(server, listen, context, certificate, monkeypatch):
    trusting(monkeypatch, certificate[0])
    port = listen(ssl_context=context)
    monkeypatch.setattr("functions._platform.auth.delivery.smtp.IMPLICIT_TLS", port)
    await send(mailer(port))
    assert len(server.mails) == 1


def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    """The system's trust store has the test's certificate; the session's cached contexts do not."""
    monkeypatch.setattr(
        ssl, "create_default_context", lambda *_, **__: _client_context(certificate)
    )


def _client_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context
