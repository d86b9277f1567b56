"""Our own key and certificate for SAML: made by itself, kept encrypted in PostgreSQL, changed in two steps.

`rotate` makes the next one and shows it beside the current one, so that the providers can learn it; `finish` puts it in
its place. Above: flow, admin API. Below: stores.
"""

import asyncio
import datetime as dt
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, InvalidCall
from ai_platform.domain.principal import HOME
from ai_platform.sso.rows import moment
from ai_platform.sso.saml.messages import Certificate
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Database, Duplicate

BITS = 3072
DAYS = 3 * 365
KEPT_SECONDS = 30.0
"""How long a process goes on with the keys it has read: after a rotation elsewhere it knows them by then."""

PURPOSE = "saml key"


class OwnKey(msgspec.Struct, frozen=True, kw_only=True):
    """state: `current` or `next`. key: PEM, never shown. created_at: epoch seconds."""

    state: str
    certificate: Certificate
    key: str
    created_at: float

    def __repr__(self) -> str:
        return f"OwnKey({self.state}, {self.certificate.sha256})"


class OwnKeys:
    def __init__(self, database: Database, seal: Seal, clock: Clock, *, name: str) -> None:
        """name: the certificate's common name."""
        self._database = database
        self._seal = seal
        self._clock = clock
        self._name = name
        self._keys: tuple[OwnKey, ...] = ()
        self._read_at = float("-inf")

    async def ensure(self) -> None:
        """Make the first one, unless there is one."""
        if not await self._read():
            try:
                await self._make("current", "platform")
            except Duplicate:  # another replica that starts at the same moment was faster
                await self._read()

    async def all(self) -> tuple[OwnKey, ...]:
        """The current one, then the next one when there is one."""
        if self._clock.monotonic() - self._read_at > KEPT_SECONDS:
            await self._read()
        return self._keys

    async def rotate(self, by: str) -> OwnKey:
        """Raises InvalidCall: a change is under way already."""
        try:
            return await self._make("next", by)
        except Duplicate as error:
            message = "A next key is shown to the providers already. Finish that change first: `--finish`."
            raise InvalidCall(Refusal.INVALID_REQUEST, message) from error

    async def finish(self) -> OwnKey:
        """The next key is the current one from now on; what was encrypted for the old one cannot be opened any more.

        Raises InvalidCall: there is no next key.
        """
        async with self._database.within(HOME).transaction() as connection:
            if await connection.fetchval("SELECT 1 FROM saml_keys WHERE state = 'next' FOR UPDATE") is None:
                message = "There is no next key. Make one first, give its metadata to the providers, then finish."
                raise InvalidCall(Refusal.INVALID_REQUEST, message)
            await connection.execute("DELETE FROM saml_keys WHERE state = 'current'")
            await connection.execute("UPDATE saml_keys SET state = 'current' WHERE state = 'next'")
        return (await self._read())[0]

    async def _make(self, state: str, by: str) -> OwnKey:
        now = self._clock.now()
        key, certificate = await asyncio.to_thread(_pair, self._name, now)
        await self._database.within(HOME).execute(
            "INSERT INTO saml_keys (state, certificate, private_key, created_at, created_by)"
            " VALUES ($1, $2, $3, $4, $5)",
            state,
            certificate,
            self._seal.close(key.encode(), PURPOSE),
            moment(now),
            by,
        )
        return next(one for one in await self._read() if one.state == state)

    async def _read(self) -> tuple[OwnKey, ...]:
        rows: list[Any] = await self._database.within(HOME).fetch("SELECT * FROM saml_keys ORDER BY state")
        self._keys = tuple(self._own(row) for row in rows)
        self._read_at = self._clock.monotonic()
        return self._keys

    def _own(self, row: Any) -> OwnKey:
        key = self._seal.open(row["private_key"], PURPOSE)
        if key is None:
            raise ConfigError(
                "The SAML key in the database was encrypted under another `secret.key`. Restore that file; replicas"
                " over one database share it."
            )
        loaded = x509.load_pem_x509_certificate(row["certificate"].encode())
        shown = Certificate(
            pem=row["certificate"],
            sha256=loaded.fingerprint(hashes.SHA256()).hex(),
            expires=loaded.not_valid_after_utc.timestamp(),
        )
        return OwnKey(state=row["state"], certificate=shown, key=key.decode(), created_at=row["created_at"].timestamp())


def _pair(name: str, now: float) -> tuple[str, str]:
    """(private key, certificate that it signs itself), PEM. Blocking: about half a second."""
    key = rsa.generate_private_key(65537, BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=DAYS))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
