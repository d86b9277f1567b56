"""Settings of sign-in: identity providers, what their groups mean, how long a sign-in lasts, issuers for programs."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ai_platform.sso.issuers import ALGORITHMS, FederationSettings
from ai_platform.sso.oauth.settings import OAuthSettings

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Skew = Annotated[float, msgspec.Meta(ge=0, le=300)]

ANY = "*"
RESERVED = frozenset({"login", "logout", "acs", "metadata", "finish", "break-glass"})
"""Words that stand in our own addresses where a provider's name would."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class ClaimNames(msgspec.Struct, frozen=True, kw_only=True):
    """Which claims of the provider say what. A dot steps into an object: `realm_access.roles`.

    email: the address. email_verified: the claim that must be true for the address to count; "" trusts every address
    of this provider. name: what people are called. groups: a list, or one text.
    team, region, tenant: taken as they are; "" = only from groups.
    """

    email: str = "email"
    email_verified: str = "email_verified"
    name: str = "name"
    groups: str = "groups"
    team: str = ""
    region: str = ""
    tenant: str = ""


_WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"


class AttributeNames(msgspec.Struct, frozen=True, kw_only=True):
    """Which SAML attributes say what; of several names the first that is there counts.

    email: the address, which this provider vouches for. name: what people are called. groups: groups, one a value.
    team, region, tenant: taken as they are; without a name only from groups.
    """

    email: tuple[str, ...] = (
        "email",
        "mail",
        "emailaddress",
        f"{_WS}/emailaddress",
        "urn:oid:0.9.2342.19200300.100.1.3",
    )
    name: tuple[str, ...] = (
        "displayName",
        "http://schemas.microsoft.com/identity/claims/displayname",
        "urn:oid:2.16.840.1.113730.3.1.241",
        "name",
        f"{_WS}/name",
    )
    groups: tuple[str, ...] = (
        "groups",
        "memberOf",
        "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
        "http://schemas.xmlsoap.org/claims/Group",
        "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
    )
    team: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()


class GroupRule(msgspec.Struct, frozen=True, kw_only=True):
    """What membership of one group, or one value of an attribute, gives.

    Roles of several rules add up; the first team, region and tenant found count. group: the name as the provider sends
    it, `*` = everybody who may sign in. attribute, value: instead of a group a claim or SAML attribute and the value it
    must have, `*` = any. roles: names from roles.yaml. team: whose limits and budget apply. region: where the person
    works. tenant: the organisation they belong to.
    """

    group: str = ""
    attribute: str = ""
    value: str = ""
    roles: tuple[str, ...] = ()
    team: str | None = None
    region: str | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        if bool(self.group) == bool(self.attribute) or bool(self.attribute) != bool(self.value):
            raise ValueError("name either a group, or an attribute and its value")

    @property
    def text(self) -> str:
        return f"group {self.group}" if self.group else f"{self.attribute} = {self.value}"


class IdentityProvider(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenID and SAML providers have in common.

    name: short, part of its addresses here. title: on the sign-in page. tenant: the organisation that everybody who
    signs in there belongs to; "" = as rules and attributes say, else the default one. email_domains: addresses that
    may sign in, by domain; empty = any. Of several providers each must have it, so that none speaks for another's
    people; `*` says that one may. groups: what groups mean; who is in none of them is refused. ca_file: PEM file of
    the authority of its certificate; nothing = the system's. sign_out: offer to sign out at the provider too, when it
    has an address for that; of OpenID, /auth/signed-out must be registered there as the address to come back to.
    """

    name: str
    title: str = ""
    tenant: str = ""
    email_domains: tuple[str, ...] = ()
    groups: tuple[GroupRule, ...] = ()
    ca_file: Path | None = None
    sign_out: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in RESERVED:
            raise ValueError("name must be lower-case letters, digits and '-', at most 32, for example `corp`")

    @property
    def shown(self) -> str:
        return self.title or self.name

    @property
    def domains(self) -> frozenset[str]:
        """Lower case; empty when any address may sign in."""
        found = frozenset(domain.lower().lstrip("@") for domain in self.email_domains)
        return frozenset() if ANY in found else found


class ProviderSettings(IdentityProvider, frozen=True, kw_only=True):
    """One OpenID provider. Its redirect address is /auth/callback/NAME.

    issuer: the address under which /.well-known/openid-configuration is found; https, or http on loopback for
    development. client_id: as registered there. client_secret_env, client_secret_file: where its secret is; neither =
    a public client. scopes: what is asked for; with offline_access every refresh asks the provider whether the person
    is still there. hosts: other hosts that its endpoints may lie on (Google's do). algorithms: signatures that are
    accepted. claims: which claims say what.
    """

    issuer: str
    client_id: str
    client_secret_env: str = ""
    client_secret_file: Path | None = None
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    hosts: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ALGORITHMS
    claims: ClaimNames = ClaimNames()

    def __post_init__(self) -> None:
        super().__post_init__()
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid, otherwise the provider says nothing about who signed in")
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            raise ValueError(f"algorithms may be {', '.join(ALGORITHMS)}; not {', '.join(sorted(unknown))}")


class SamlSettings(IdentityProvider, frozen=True, kw_only=True):
    """One SAML 2.0 identity provider; needs the extra `saml`.

    issuer: its entity ID. metadata_file, metadata_url: where its metadata is, a file or an https address (http on
    loopback for development). metadata_seconds: how often an address is read again. metadata_certificate_file: PEM
    file of the certificate that the metadata must be signed with; nothing = https and the file's owner are trusted.
    entity_id: ours at this provider; "" = the address of our metadata. subject: the attribute that names a person for
    good; "" = the NameID. name_id_format: the kind of NameID that is asked for; "" = as the provider likes. attributes:
    which attributes say what. signed: what must carry a signature. encrypted:
    refuse assertions that are not encrypted. sign_requests: sign requests even when its metadata does not ask for it.
    idp_initiated: accept answers that nobody here asked for, from links on the provider's own pages.
    accept_expired_certificate: go on with a certificate of the provider that has expired.
    """

    issuer: str
    metadata_file: Path | None = None
    metadata_url: str = ""
    metadata_seconds: Seconds = 3600.0
    metadata_certificate_file: Path | None = None
    entity_id: str = ""
    subject: str = ""
    name_id_format: Literal["", "persistent", "emailAddress", "unspecified"] = ""
    attributes: AttributeNames = AttributeNames()
    signed: Literal["assertion", "response", "either", "both"] = "either"
    encrypted: bool = False
    sign_requests: bool = False
    idp_initiated: bool = False
    accept_expired_certificate: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.metadata_file) == bool(self.metadata_url):
            raise ValueError("name metadata_file or metadata_url, one of the two")


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Browser sessions, in seconds.

    idle_seconds: without a request, a session ends. absolute_seconds: it ends in any case. rotate_seconds: as long as
    it goes on, its id is replaced this often.
    """

    idle_seconds: Seconds = 3600.0
    absolute_seconds: Seconds = 43200.0
    rotate_seconds: Seconds = 900.0


class TokenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of Claude Code and of `ai-platform login`, in seconds.

    access_seconds: how long an access token is good; clients renew it silently. sign_in_seconds: how long until the
    person has to sign in again. refresh_grace_seconds: how long the refresh token before the newest still gets the
    same answer again, for a client that lost the first one. device_seconds: how long a code on a screen can be
    approved. device_interval: how often a client may ask whether it was. outage_seconds: how long the provider may be
    unreachable before a renewal that has to ask it is refused.
    """

    access_seconds: Seconds = 900.0
    sign_in_seconds: Seconds = 43200.0
    refresh_grace_seconds: Seconds = 20.0
    device_seconds: Seconds = 600.0
    device_interval: Count = 5
    outage_seconds: Seconds = 3600.0


class ManagedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Claude Code settings for whom they fit. Empty lists fit everybody; of several lists each must fit.

    file: JSON or YAML with the content of managed-settings.json; read again when it changes. groups: the provider's
    groups. roles, teams: of the platform.
    """

    file: Path
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


class BreakGlassSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Local administrators for when every identity provider is down; needs the extra `mfa`.

    enabled: whether there is such a page. session_seconds: how long their sign-in and what comes of it lasts.
    failures_per_address: sign-ins of one network address that may fail in a quarter of an hour before no more are
    taken. failures_per_name: the same of one name in an hour, from anywhere; a link made on the machine passes both.
    """

    enabled: bool = False
    session_seconds: Seconds = 1800.0
    failures_per_address: Count = 5
    failures_per_name: Count = 20


class SsoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sign-in. Without a provider there is none, and platform keys are the only credentials.

    providers: OpenID providers, in the order of the sign-in page. saml: SAML providers, after them. mapping_file: a
    YAML file with rules that hold at every provider after its own; read again when it changes. contact: whom a person
    who is refused should ask, a sentence. sign_ins_per_minute: sign-ins that one address may begin in a browser.
    break_glass: local administrators.
    clock_skew_seconds: how far the provider's clock may differ. fetch_seconds: how long the provider may take to
    answer. sessions: browsers. tokens: programs. login_notice: shown by Claude Code beside the code, at most 500
    characters. managed: settings sent to signed-in Claude Code; the first entry that fits counts.
    device_requests_per_minute: sign-ins that one network address may begin. code_failures: wrong codes from one
    person or address in ten minutes before no more are taken. federation: issuers whose tokens programs may exchange
    for a service account's. exchange_failures: tokens of one address that were refused in a minute before no more are
    looked at. oauth: access for MCP clients.
    """

    providers: tuple[ProviderSettings, ...] = ()
    saml: tuple[SamlSettings, ...] = ()
    mapping_file: Path | None = None
    contact: str = "Ask whoever runs this platform for access."
    clock_skew_seconds: Skew = 60.0
    fetch_seconds: Seconds = 5.0
    sessions: SessionSettings = SessionSettings()
    tokens: TokenSettings = TokenSettings()
    login_notice: Annotated[str, msgspec.Meta(max_length=500)] = ""
    managed: tuple[ManagedSettings, ...] = ()
    device_requests_per_minute: Count = 30
    code_failures: Count = 5
    federation: tuple[FederationSettings, ...] = ()
    exchange_failures: Count = 30
    sign_ins_per_minute: Count = 300
    break_glass: BreakGlassSettings = BreakGlassSettings()
    oauth: OAuthSettings = OAuthSettings()

    def __post_init__(self) -> None:
        names = [provider.name for provider in self.everyone]
        if len(names) != len(set(names)):
            raise ValueError("two providers have the same name")
        without = [provider.name for provider in self.everyone if not provider.email_domains]
        if len(names) > 1 and without:
            raise ValueError(
                f"'{without[0]}' needs email_domains: with several providers each must say for whose addresses it may"
                " speak (`*` = anybody's)"
            )
        for what in ("name", "issuer"):
            values = [getattr(one, what) for one in self.federation]
            if len(values) != len(set(values)):
                raise ValueError(f"two entries of federation have the same {what}")

    @property
    def everyone(self) -> tuple[IdentityProvider, ...]:
        """All providers, in the order of the sign-in page."""
        return (*self.providers, *self.saml)
