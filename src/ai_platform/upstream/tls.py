"""TLS as a client: verification is always on; own authorities and client certificates are settings."""

import ssl

from ai_platform.domain.errors import ConfigError
from ai_platform.upstream.settings import UpstreamSettings


def client_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, host name checked, HTTP/1.1 offered.

    Raises:
        ConfigError: a certificate or key file cannot be used.

    """
    where = f"upstream {settings.name!r}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file {settings.ca_file!r} cannot be used ({error})", where=where) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.client_cert_file is not None:
        try:
            # An encrypted key would make OpenSSL ask on the terminal; an empty passphrase makes it fail instead.
            context.load_cert_chain(settings.client_cert_file, settings.client_key_file, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"client_cert_file {settings.client_cert_file!r} with client_key_file {settings.client_key_file!r} "
                f"cannot be used ({error}); both must be PEM, the key without a passphrase",
                where=where,
            ) from None
    return context


def system_context() -> ssl.SSLContext:
    """The same with the system's authorities, for an `https://` proxy."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
