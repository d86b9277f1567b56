"""Clients that describe themselves at an address, registrations and codes that end, and floods."""

from collections.abc import Iterator
from typing import Any

import pytest
from mcp_client import CALLBACK
from scripted_provider import ScriptedProvider, scripted

from ai_platform.domain.errors import InvalidCall
from ai_platform.entrypoints.signin.clients import REGISTER, ClientRoutes
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Data, Visit
from ai_platform.sso.fetch import _is_allowed
from ai_platform.sso.oauth.asked import Asked
from ai_platform.sso.oauth.clients import Clients, Source
from ai_platform.sso.oauth.codes import Codes, Redeemed, Spoilt, challenge_of
from ai_platform.sso.oauth.documents import PAUSE_SECONDS, ClientDocuments
from ai_platform.sso.oauth.settings import ClientSettings, Documents, OAuthSettings
from ai_platform.sso.people import Account
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock, MemoryTrail

pytestmark = [pytest.mark.anyio]
KEY = b"k" * 32


@pytest.fixture
def host() -> Iterator[ScriptedProvider]:
    with scripted() as found:
        yield found


def clients_of(clock: FakeClock, *, development: bool = True, **settings: Any) -> Clients:
    documents = ClientDocuments(clock, seconds=2.0, development=development)
    return Clients(OAuthSettings(**settings), documents, key=KEY, clock=clock)


def document(host: ScriptedProvider, **changes: Any) -> str:
    """The address of a good one; None takes a field away."""
    address = f"{host.issuer}/client.json"
    usual = {"client_id": address, "client_name": "Documented", "redirect_uris": [CALLBACK]}
    host.answers["/client.json"] = (
        200,
        {name: value for name, value in (usual | changes).items() if value is not None},
    )
    return address


class TestDocuments:
    async def test_describe_their_client_and_are_read_once_in_a_while(self, host: ScriptedProvider, clock: FakeClock):
        clients = clients_of(clock)
        for _ in range(3):
            found = await clients.find(document(host))
            assert (found.name, found.redirect_uris, found.source) == ("Documented", (CALLBACK,), Source.DOCUMENT)
        assert host.asked == ["/client.json"]
        clock.advance(3601)
        await clients.find(document(host))
        assert len(host.asked) == 2

    @pytest.mark.parametrize(
        "changes",
        [
            {"client_id": "https://other.example/client.json"},
            {"client_id": None},
            {"redirect_uris": None},
            {"redirect_uris": ["https://evil.example/"]},
            {"redirect_uris": CALLBACK},
            {"token_endpoint_auth_method": "private_key_jwt"},
            {"grant_types": ["client_credentials"]},
        ],
    )
    async def test_that_do_not_fit_are_refused(self, host: ScriptedProvider, clock: FakeClock, changes: dict[str, Any]):
        with pytest.raises(InvalidCall):
            await clients_of(clock).find(document(host, **changes))

    @pytest.mark.parametrize(
        ("status", "body"),
        [(404, {}), (500, {}), (302, {}), (200, b"<html>"), (200, b"[1]"), (200, b"x" * 20_000), (200, b"[" * 9000)],
    )
    async def test_that_cannot_be_had_are_not_asked_for_again_for_a_while(
        self, host: ScriptedProvider, clock: FakeClock, status: int, body: Any
    ):
        clients = clients_of(clock)
        address = document(host)
        host.answers["/client.json"] = (status, body)
        host.headers["location"] = "http://169.254.169.254/"
        for _ in range(3):
            with pytest.raises(InvalidCall, match="cannot be read"):
                await clients.find(address)
        assert host.asked == ["/client.json"], "and no redirect was followed"
        host.headers.clear()
        document(host)
        clock.advance(PAUSE_SECONDS + 1)
        assert await clients.find(address)

    @pytest.mark.parametrize(
        "address",
        [
            "https://127.0.0.1/client.json",
            "https://[::1]/client.json",
            "https://10.0.0.7/client.json",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/client.json",
            "https://localhost/client.json",
            "https://intranet/client.json",
            "http://public.example/client.json",
            "ftp://public.example/client.json",
            "https://user@public.example/client.json",
            "https://user:word@public.example/client.json",
            "https://public.example/client.json#fragment",
            "https://public.example/client.json?query",
            "https://public.example/",
            "https://public.example",
            "https://public.example/../client.json",
            "https://public.example/a/%2e%2e/client.json",
            "https://public.example/./client.json",
            "https://public.example\\@evil.example/x",
            "https://public.example/\r\nhost: x",
            "https://pub\u2024lic.example/x",
            "https://public.example/" + "a" * 400,
        ],
    )
    async def test_at_addresses_that_lead_inwards_are_not_asked_for(self, clock: FakeClock, address: str):
        clients = clients_of(clock, development=False)
        with pytest.raises(InvalidCall, match="A client_id that is an address"):
            await clients.find(address)

    async def test_at_a_public_name_of_a_private_address_are_not_asked_for(
        self, host: ScriptedProvider, clock: FakeClock
    ):
        documents = ClientDocuments(clock, seconds=2.0, development=False)
        port = host.issuer.rpartition(":")[2]
        with pytest.raises(InvalidCall, match="cannot be read"):
            await documents.of(f"https://localhost.localdomain:{port}/client.json")
        assert host.asked == []

    @pytest.mark.parametrize(
        ("address", "allowed"),
        [
            ("93.184.216.34", True),
            ("2606:2800:220:1::1", True),
            ("10.0.0.1", False),
            ("192.168.1.1", False),
            ("172.16.0.1", False),
            ("100.64.0.1", False),
            ("198.18.0.1", False),
            ("0.0.0.0", False),
            ("::ffff:10.0.0.1", False),
            ("64:ff9b::7f00:1", False),
            ("64:ff9b::a00:1", False),
            ("2002:7f00:1::", False),
            ("2002:a00:1::", False),
            ("fd00::1", False),
            ("fe80::1%eth0", False),
        ],
    )
    def test_are_fetched_from_public_addresses_only(self, address: str, *, allowed: bool):
        assert _is_allowed(address, loopback=False, public=True) is allowed

    @pytest.mark.parametrize("address", ["64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::", "::ffff:127.0.0.1"])
    def test_an_address_that_only_looks_public_is_not_asked_even_where_private_ones_are(self, address: str):
        assert not _is_allowed(address, loopback=False)

    async def test_are_not_fetched_at_all_where_only_listed_clients_are_wanted(
        self, host: ScriptedProvider, clock: FakeClock
    ):
        listed = ClientSettings(id="https://tool.example/c.json", name="Tool", redirect_uris=(CALLBACK,))
        for setting in (Documents.LISTED, Documents.OFF):
            clients = clients_of(clock, documents=setting, clients=(listed,))
            with pytest.raises(InvalidCall, match="not known here"):
                await clients.find(document(host))
            assert (await clients.find(listed.id)).source is Source.LISTED
        assert host.asked == []


class TestRegistrations:
    async def test_end_after_a_while(self, clock: FakeClock):
        clients = clients_of(clock, registration_days=1.0)
        client, _ = clients.register({"client_name": "x", "redirect_uris": [CALLBACK]})
        assert (await clients.find(client.id)).source is Source.REGISTERED
        clock.advance(86_401)
        with pytest.raises(InvalidCall, match="expired"):
            await clients.find(client.id)

    async def test_of_another_installation_are_not_taken(self, clock: FakeClock):
        client, _ = clients_of(clock).register({"client_name": "x", "redirect_uris": [CALLBACK]})
        other = Clients(
            OAuthSettings(), ClientDocuments(clock, seconds=1.0, development=True), key=b"o" * 32, clock=clock
        )
        with pytest.raises(InvalidCall, match="not made here"):
            await other.find(client.id)

    async def test_with_an_address_that_is_not_listed_any_more_lose_it(self, clock: FakeClock):
        remote = "https://tool.example/callback"
        client, _ = clients_of(clock, redirect_hosts=("tool.example",)).register({"redirect_uris": [remote, CALLBACK]})
        assert client.redirect_uris == (remote, CALLBACK)
        assert (await clients_of(clock).find(client.id)).redirect_uris == (CALLBACK,)

    async def test_of_one_address_are_bounded(self, clock: FakeClock):
        class Room:
            url = "http://p"

            class settings:  # noqa: N801 - as the room has it
                oauth = OAuthSettings(registrations_per_minute=3)

            class oauth:  # noqa: N801 - the same
                clients = clients_of(clock)

        routes = ClientRoutes(Room(), Recorder(MemoryTrail(), clock), clock)  # type: ignore[arg-type]
        scope = {"query_string": b"", "headers": [], "path": REGISTER, "client": ("203.0.113.9", 1), "method": "POST"}
        body = b'{"redirect_uris": ["%s"]}' % CALLBACK.encode()
        answers = [await routes.register(Visit(scope, body)) for _ in range(4)]
        assert [answer.status for answer in answers if isinstance(answer, Data)] == [201, 201, 201, 429]
        scope["client"] = ("203.0.113.10", 1)
        assert (await routes.register(Visit(scope, body))).status == 201  # type: ignore[union-attr]


class TestCodes:
    @pytest.fixture
    async def ann(self, system: SystemDatabase) -> Account:
        await system.execute(
            "INSERT INTO principals (id, tenant, kind, handle, name) VALUES ('usr_1', 'default', 'person', 'a', 'Ann')"
        )
        return Account(id="usr_1", name="Ann", provider="corp", subject="1", roles=("developer",))

    def asked(self, verifier: str) -> Asked:
        return Asked(
            client_id="c",
            client_name="C",
            source=Source.LISTED,
            redirect_uri=CALLBACK,
            state=None,
            challenge=challenge_of(verifier),
            resource="/mcp",
            scopes=("mcp:tools",),
        )

    async def test_end_after_a_minute_and_are_then_forgotten(
        self, database: Database, system: SystemDatabase, clock: FakeClock, ann: Account
    ):
        codes = Codes(database, pepper=KEY, clock=clock, seconds=60.0)
        verifier = "v" * 43
        first, second = [await codes.make(self.asked(verifier), ann, None) for _ in range(2)]

        async def become(_found: Redeemed, _connection: Any) -> str:
            return "grt_1"

        form: Any = {"client_id": "c", "redirect_uri": CALLBACK, "verifier": verifier, "resource": "/mcp"}
        form["become"] = become
        assert isinstance(await codes.redeem(first, **form), Redeemed)
        clock.advance(61)
        assert await codes.redeem(second, **form) is Spoilt.EXPIRED
        clock.advance(3601)
        await codes.sweep(system)
        assert await system.fetchval("SELECT count(*) FROM sso_codes") == 0
        assert await codes.redeem(second, **form) is Spoilt.UNKNOWN

    async def test_are_nowhere_in_the_database(
        self, database: Database, system: SystemDatabase, clock: FakeClock, ann: Account
    ):
        codes = Codes(database, pepper=KEY, clock=clock, seconds=60.0)
        code = await codes.make(self.asked("v" * 43), ann, None)
        rows = str([dict(row) for row in await system.fetch("SELECT * FROM sso_codes")])
        assert code not in rows
        assert "v" * 43 not in rows

    async def test_cannot_be_listed_without_one(
        self, database: Database, system: SystemDatabase, clock: FakeClock, ann: Account
    ):
        await Codes(database, pepper=KEY, clock=clock, seconds=60.0).make(self.asked("v" * 43), ann, None)
        assert await system.fetchval("SELECT count(*) FROM sso_codes") == 1
        assert await database.fetch("SELECT * FROM sso_codes") == []


@pytest.mark.parametrize("verifier", ["", "short", "v" * 42, "v" * 129, "v" * 42 + "=", "v" * 42 + "\n", "ü" * 43])
def test_what_is_no_verifier_fits_no_challenge(verifier: str):
    assert challenge_of(verifier) == ""
