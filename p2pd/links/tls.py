"""Whom to believe over TLS: those whom a fleet's own authority vouches for, and nobody else.

The policy here is Twisted's, but for who a certificate is for: Twisted (26.10) logs that one
names no host at all, and believes it.
"""

import ipaddress
import weakref
from collections.abc import Callable
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from p2pd.errors import Invalid

_PROVEN = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


def read_authority(pem: bytes) -> IPolicyForHTTPS:
    """Return a policy for agents: only what these certificates of authorities signed is believed.

    A server must also prove to be the host (name or IP address) that was called. Raises Invalid
    for anything but certificates of authorities.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Invalid("there is no certificate in PEM format in it") from error
    for certificate in certificates:
        if not _may_sign(certificate):
            name = certificate.subject.rfc4514_string()
            raise Invalid(f"the certificate of {name} in it is not that of an authority")
    return _Policy([Certificate(crypto.X509.from_cryptography(one)) for one in certificates])


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1
    except ValueError as error:
        raise Invalid(f"a certificate in it cannot be read: {error}") from error
    return constraints.value.ca


@implementer(IPolicyForHTTPS)
class _Policy:
    """Believes what some authorities signed."""

    def __init__(self, authorities: list[Certificate]) -> None:
        self._root = trustRootFromCertificates(authorities)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: ARG002 - the interface's
        return _Creator(hostname.decode("ascii"), self._root)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections to one host, which must prove to be that host."""

    def __init__(self, host: str, root: Any) -> None:
        self._options = optionsForClientTLS(host, root)
        self._identity = _identity(host)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(_PROVEN, _verifier(tlsProtocol, self._identity))
        return connection


def _identity(host: str) -> DNS_ID | IPAddress_ID:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return DNS_ID(host)
    return IPAddress_ID(host)


def _verifier(
    protocol: Any, identity: DNS_ID | IPAddress_ID
) -> Callable[[SSL.Connection, crypto.X509, int, int, int], bool]:
    # The connection belongs to the protocol: a strong reference would keep both alive.
    failing = weakref.WeakMethod(protocol.failVerification)

    def verify(_: SSL.Connection, certificate: crypto.X509, __: int, depth: int, ok: int) -> bool:
        if depth or not ok:
            return bool(ok)
        try:
            verify_service_identity(extract_patterns(certificate), [identity], [])
        except Exception:  # noqa: BLE001 - what cannot be verified is not believed
            if fail := failing():
                fail(Failure())
            return False
        return True

    return verify


def fault(error: BaseException | None) -> str | None:
    """Return in words what is wrong with a TLS connection; None if it is not TLS that failed."""
    match error:
        case VerificationError():
            return "its TLS certificate is for another host"
        case CertificateError():
            return f"its TLS certificate is of no use: {error}"
        case SSL.Error():
            reasons = [str(entry[-1]) for entry in error.args[0]] if error.args else []
            return f"TLS failed: {', '.join(reasons) or 'the connection was cut'}"
    return None
