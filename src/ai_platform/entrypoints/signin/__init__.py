"""The doors of sign-in: pages for browsers, OAuth for programs, and what signed-in Claude Code asks for."""

from typing import TypeGuard

from ai_platform.audit import Trail
from ai_platform.domain.clock import Clock
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.account import AccountPage
from ai_platform.entrypoints.signin.authorize import Authorize
from ai_platform.entrypoints.signin.break_glass import BreakGlassPages
from ai_platform.entrypoints.signin.browser import Browser
from ai_platform.entrypoints.signin.claude_code import ClaudeCode
from ai_platform.entrypoints.signin.clients import ClientRoutes
from ai_platform.entrypoints.signin.connections import ConnectionsPage, MyAccounts
from ai_platform.entrypoints.signin.device import DevicePage
from ai_platform.entrypoints.signin.exchange import Exchange
from ai_platform.entrypoints.signin.oauth import OAuth
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.saml import SamlDoor
from ai_platform.sso import SignOn
from ai_platform.sso.connections.client import OAuthClient
from ai_platform.sso.connections.credentials import Credentials
from ai_platform.telemetry import Meter

__all__ = ["MyAccounts", "gives_mcp_tokens", "sign_in_handlers"]


def sign_in_handlers(
    signon: SignOn | None,
    claude_code: ClaudeCode,
    trail: Trail,
    meter: Meter,
    clock: Clock,
    *,
    accounts: MyAccounts | None,
) -> dict[tuple[str, str], Handler]:
    """Every route of this door. accounts: at MCP servers; None when there is no MCP door.

    signon: None when nobody can sign in, and then those routes are missing; without a
    provider of people the pages are.
    """
    meter.counter(
        "aip_client_telemetry_total",
        "Telemetry documents that clients sent; they are dropped.",
        lambda: {(signal,): count for signal, count in claude_code.received.items()},
        labels=("signal",),
    )
    return claude_code.handlers() | (_signing_in(signon, trail, meter, clock, accounts) if signon else {})


def _count_accounts(meter: Meter, page: ConnectionsPage, credentials: Credentials, client: OAuthClient) -> None:
    meter.counter(
        "aip_mcp_accounts_total",
        "What became of accounts at MCP servers and of their tokens.",
        lambda: {
            ("connected",): page.connected,
            ("disconnected",): page.disconnected,
            ("refused",): page.refused,
            ("renewed",): credentials.renewed,
            ("ended",): credentials.ended,
            ("not revoked",): client.unrevoked,
        },
        labels=("result",),
    )


def gives_mcp_tokens(signon: SignOn | None) -> TypeGuard[SignOn]:
    """Whether people can give MCP clients access, as far as sign-in is concerned."""
    return signon is not None and signon.takes_people and signon.settings.oauth.enabled


def _signing_in(
    signon: SignOn, trail: Trail, meter: Meter, clock: Clock, accounts: MyAccounts | None
) -> dict[tuple[str, str], Handler]:
    record = Recorder(trail, clock)
    browser = Browser(signon, record, clock)
    account = AccountPage(signon, browser, record, clock)
    saml = SamlDoor(signon, browser, record)
    device = DevicePage(signon, browser, record, clock)
    exchange = Exchange(signon, record, clock)
    mcp = accounts is not None and gives_mcp_tokens(signon)
    oauth = OAuth(signon, record, exchange, clock, mcp=mcp)
    authorize = Authorize(signon, browser, record, clock)
    clients = ClientRoutes(signon, record, clock)
    meter.counter(
        "aip_sign_ins_total",
        "What became of sign-ins, codes and refresh tokens.",
        lambda: {
            ("signed_in",): browser.signed_in,
            ("refused",): browser.refused,
            ("program_approved",): device.approved,
            ("program_denied",): device.denied,
            ("wrong_code",): device.wrong,
            ("token_issued",): oauth.issued,
            ("token_refreshed",): oauth.refreshed,
            ("refresh_reused",): oauth.reused,
            ("client_registered",): clients.registered,
            ("client_refused",): authorize.refused,
            ("client_approved",): authorize.approved,
            ("client_denied",): authorize.denied,
            ("code_reused",): oauth.codes_reused,
            ("service_token_issued",): exchange.issued,
            ("service_token_refused",): exchange.refused,
            ("service_token_replayed",): signon.federation.replayed,
            ("saml_replayed",): saml.replayed,
            ("ended_by_provider",): account.ended + saml.ended,
            ("logout_refused",): account.refused + saml.logout_refused,
        },
        labels=("result",),
    )
    meter.counter(
        "aip_sign_in_watch_failures_total",
        "Looks for ended sign-ins that PostgreSQL did not answer.",
        lambda: signon.watch_failures,
    )
    pages: dict[tuple[str, str], Handler] = {}
    if signon.takes_people:
        pages = {**browser.handlers(), **account.handlers(), **saml.handlers(), **device.handlers()}
    if signon.emergency is not None:
        pages |= BreakGlassPages(signon, signon.emergency, browser, record).handlers()
    programs = {**authorize.handlers(), **clients.handlers()} if mcp else {}
    if accounts is not None and signon.takes_people:
        secure = signon.url.startswith("https://")
        page = ConnectionsPage(accounts.flow, browser, record, manages=accounts.manages, secure=secure)
        _count_accounts(meter, page, accounts.flow.credentials, accounts.flow.client)
        pages |= page.handlers()
    return {**pages, **programs, **oauth.handlers()}
