"""Breaking the glass: enrolling local administrators, and signing one in with a password and a second factor.

Guessing is bounded by address and by name. The bound by name could be used to lock an administrator out, so a link made
on the machine (`ticket`) passes both and has a bound of its own: who runs the machine always gets in.
Above: doors, admin API. Below: store, passwords, kinds.
"""

import re
from typing import NamedTuple, NoReturn, Protocol
from urllib.parse import urlsplit

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, RateLimited, Unauthenticated
from ai_platform.domain.principal import HOME
from ai_platform.identity.attempts import network
from ai_platform.sso.breakglass.kinds import Admin, Factors, Site
from ai_platform.sso.breakglass.passwords import Passwords, trouble_with
from ai_platform.sso.breakglass.store import Store
from ai_platform.sso.limits import Limiter
from ai_platform.sso.people import Account
from ai_platform.sso.saml.threads import Threads
from ai_platform.sso.seal import Seal
from ai_platform.sso.settings import BreakGlassSettings
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.telemetry import Alert

PROVIDER = "break-glass"
ROLES = ("admin",)
LINK_SECONDS = 600.0
LINK_USES = 10
CHALLENGE_SECONDS = 300.0
ADDRESS_SECONDS = 900.0
NAME_SECONDS = 3600.0
SECRET = "totp secret"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Sends(Protocol):
    def send(self, alert: Alert) -> bool: ...


class Attempt(NamedTuple):
    """What came over the network. ticket: from a link of the command line, "" without one."""

    name: str
    password: str
    ip: str
    ticket: str


class Challenge(NamedTuple):
    """options: for the browser's security key, JSON. value: must come back, hexadecimal."""

    options: str
    value: str


class BreakGlass:
    """opened, failed, closed: sign-ins, those that failed, and those that were turned away unread; counters."""

    def __init__(
        self,
        settings: BreakGlassSettings,
        database: Database,
        *,
        factors: Factors,
        seal: Seal,
        pepper: bytes,
        clock: Clock,
        alerts: Sends,
        url: str,
        passwords: Passwords | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.settings = settings
        self.site = Site(parts.hostname or "localhost", f"{parts.scheme}://{parts.netloc}")
        self._factors = factors
        self._passwords = passwords or Passwords()
        self._seal = seal
        self._clock = clock
        self._alerts = alerts
        self._store = Store(
            database, pepper=pepper, clock=clock, failures=settings.failures_per_name, seconds=NAME_SECONDS
        )
        self._addresses = Limiter(clock, limit=settings.failures_per_address, seconds=ADDRESS_SECONDS)
        self._unknown = Limiter(clock, limit=settings.failures_per_name, seconds=NAME_SECONDS)
        self._threads = Threads(at_once=1, waiting=8)
        self._reserved = Threads(at_once=1, waiting=8)
        self.opened = 0
        self.failed = 0
        self.closed = 0

    # --- on the machine: by the command line, with a key that may do everything --------------------------------------

    async def enrol(self, name: str, password: str, *, by: str) -> Admin:
        """Somebody who can sign in as soon as a second factor has been shown to work. Raises InvalidCall."""
        if not _NAME.fullmatch(name):
            message = "The name must be lower-case letters, digits, '.', '_' and '-', at most 32, for example `night`."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        if trouble := trouble_with(password):
            raise InvalidCall(Refusal.INVALID_REQUEST, trouble)
        stored = await self._reserved.run(lambda: self._passwords.hashed(password))
        return await self._store.add(name, password=stored, by=by)

    async def list(self) -> list[Admin]:
        return await self._store.all()

    async def find(self, id_or_name: str) -> Admin:
        """Raises NotFound."""
        return await self._store.of(id_or_name)

    async def remove(self, admin: Admin, *, by: str) -> None:
        await self._store.remove(admin, by=by)

    async def new_secret(self, admin: Admin) -> tuple[str, str]:
        """(secret, address that an authenticator reads); it counts once `confirm` has seen a code of it.

        Raises InvalidCall: there is one already.
        """
        if admin.active_at is not None and admin.totp is not None:
            message = f"'{admin.name}' has codes already. Remove and enrol them anew to change the secret."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        secret = self._factors.new_secret()
        await self._store.set_secret(admin, self._seal.close(secret.encode(), SECRET))
        return secret, self._factors.uri(secret, name=admin.name, issuer=f"ai-platform {self.site.host}")

    async def confirm(self, admin: Admin, code: str) -> None:
        """Raises InvalidCall: it is not the code of this moment."""
        if not await self._code_fits(admin, code):
            message = f"This is not the code of this moment. The clock here says {self.clock_text}; compare yours."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        await self._store.activate(admin)

    async def link(self, admin: Admin, purpose: str) -> str:
        """What the address of a page carries. purpose: `open` to sign in past the bounds, `key` to register a key."""
        uses = LINK_USES if purpose == "open" else 3
        return (await self._store.give(admin, purpose, seconds=LINK_SECONDS, uses=uses)).hex()

    # --- registering a security key, in a browser, from a link of the command line -----------------------------------

    async def begin_key(self, ticket: str) -> tuple[Admin, Challenge]:
        """Raises Unauthenticated: the link is not good (any more)."""
        admin = await self._whose("key", ticket)
        if admin is None:
            raise _refused("This link is not good any more. Make another one: `ai-platform break-glass enrol`.")
        challenge = await self._store.give(admin, "register", seconds=CHALLENGE_SECONDS)
        known = [key.credential_id for key in await self._store.keys_of(admin)]
        options = self._factors.registration(
            self.site, admin=admin.id, name=admin.name, challenge=challenge, known=known
        )
        return admin, Challenge(options, challenge.hex())

    async def finish_key(self, challenge: str, answer: str) -> Admin:
        """Raises Unauthenticated, InvalidCall."""
        admin = await self._whose("register", challenge)
        if admin is None:
            raise _refused("It took too long. Open the link again.")
        key = self._factors.registered(self.site, answer=answer, challenge=bytes.fromhex(challenge))
        await self._store.add_key(admin, key)
        await self._store.activate(admin)
        return admin

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def with_code(self, attempt: Attempt, code: str) -> Account:
        """Raises Unauthenticated: name, password or code is wrong; RateLimited: too many were."""
        admin = await self._known(attempt)
        if not await self._code_fits(admin, code):
            await self._wrong(attempt, admin)
        return await self._enter(admin, "code")

    async def challenge(self, attempt: Attempt) -> Challenge:
        """The first half of a sign-in with a security key. Raises as `with_code`."""
        admin = await self._known(attempt)
        keys = await self._store.keys_of(admin)
        if not keys:
            await self._wrong(attempt, admin)
        challenge = await self._store.give(admin, "sign in", seconds=CHALLENGE_SECONDS)
        known = [key.credential_id for key in keys]
        return Challenge(self._factors.authentication(self.site, challenge=challenge, known=known), challenge.hex())

    async def with_key(self, challenge: str, answer: str, *, ip: str) -> Account:
        """The second half. Raises Unauthenticated."""
        admin = await self._whose("sign in", challenge)
        if admin is None or admin.active_at is None:
            raise _refused("It took too long. Begin again.")
        attempt = Attempt(admin.name, "", ip, "")
        try:
            wanted = self._factors.credential_in(answer)
            key = next((key for key in await self._store.keys_of(admin) if key.credential_id == wanted), None)
            if key is None:
                raise _refused("This security key is not registered for this name.")
            count = self._factors.authenticated(self.site, answer=answer, challenge=bytes.fromhex(challenge), key=key)
        except Unauthenticated:
            await self._count(attempt, admin)
            raise
        if not await self._store.key_used(key, count):
            await self._wrong(attempt, admin)
        return await self._enter(admin, "security key")

    async def is_there(self, admin: str) -> bool:
        """Whether this administrator has not been removed."""
        return any(one.id == admin for one in await self._store.all())

    async def sweep(self, system: SystemDatabase) -> None:
        await self._store.sweep(system)

    @property
    def clock_text(self) -> str:
        seconds = int(self._clock.now()) % 86400
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} UTC"

    async def _known(self, attempt: Attempt) -> Admin:
        """Who has this name and password. Raises Unauthenticated, RateLimited."""
        admin = await self._store.named(attempt.name[:64])
        by_link = bool(attempt.ticket) and admin is not None and await self._link_fits(attempt.ticket, admin)
        if not by_link:
            self._check_bounds(attempt, admin)
        stored = admin.password if admin is not None else None
        threads = self._reserved if by_link else self._threads
        fits = await threads.run(lambda: self._passwords.matches(attempt.password, stored))
        if admin is None or not fits:
            await self._wrong(attempt, admin)
        return admin

    async def _link_fits(self, ticket: str, admin: Admin) -> bool:
        whose = await self._whose("open", ticket)
        return whose is not None and whose.id == admin.id

    def _check_bounds(self, attempt: Attempt, admin: Admin | None) -> None:
        wait = self._addresses.wait(network(attempt.ip))
        if admin is None:
            wait = max(wait, self._unknown.wait(attempt.name[:64]))
        elif admin.open_at:
            wait = max(wait, admin.open_at - self._clock.now())
        if wait > 0:
            self.closed += 1
            message = (
                f"Too many sign-ins failed. Try again in {int(wait // 60) + 1} minutes, or run `ai-platform break-glass"
                " open NAME` on the machine that the platform runs on."
            )
            raise RateLimited(Refusal.RATE_LIMIT, message, retry_after=wait)

    async def _code_fits(self, admin: Admin, code: str) -> bool:
        opened = self._seal.open(admin.totp, SECRET) if admin.totp else None
        step = self._factors.step_of(opened.decode(), code, now=self._clock.now()) if opened else None
        return step is not None and await self._store.take_step(admin, step)

    async def _wrong(self, attempt: Attempt, admin: Admin | None) -> NoReturn:
        await self._count(attempt, admin)
        clock = f"The clock here says {self.clock_text}; codes depend on it."
        raise _refused(f"Name, password or second factor is wrong. {clock}")

    async def _count(self, attempt: Attempt, admin: Admin | None) -> None:
        self.failed += 1
        self._addresses.count(network(attempt.ip))
        if admin is None:
            self._unknown.count(attempt.name[:64])
        else:
            await self._store.failed(admin)
        self._alerts.send(
            Alert(
                kind="break_glass_failed",
                severity="warning",
                title="Somebody failed to sign in as a local administrator",
                facts={"known_name": admin is not None},
                dedupe="break_glass_failed",
            )
        )

    async def _enter(self, admin: Admin, factor: str) -> Account:
        await self._store.used(admin)
        self.opened += 1
        now = self._clock.now()
        self._alerts.send(
            Alert(
                kind="break_glass",
                severity="critical",
                title=f"The local administrator {admin.name} signed in past the identity providers",
                facts={"name": admin.name, "factor": factor},
                person=admin.principal,
                dedupe=f"{admin.id}:{now}",
            )
        )
        return Account(
            id=admin.principal,
            name=f"{admin.name} (break-glass)",
            provider=PROVIDER,
            subject=admin.id,
            roles=ROLES,
            tenant=HOME,
            until=now + self.settings.session_seconds,
        )

    async def _whose(self, purpose: str, text: str) -> Admin | None:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            return None
        admin = await self._store.take(purpose, value)
        if admin is None:
            return None
        try:
            return await self._store.of(admin)
        except InvalidCall:
            return None


def _refused(message: str) -> Unauthenticated:
    return Unauthenticated(Refusal.UNAUTHENTICATED, message, rule="break-glass")
