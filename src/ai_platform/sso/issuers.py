"""Settings of federation: issuers whose tokens programs may exchange, and the service accounts they become."""

import re
from pathlib import Path
from typing import Annotated

import msgspec

from ai_platform.sso.claims import Wanted, patterns_of
from ai_platform.sso.tenancy import check_owner

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Public-key signatures only: with a shared secret, whoever can check a token can also make one."""

ShortLife = Annotated[float, msgspec.Meta(ge=60, le=3600)]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class FederatedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A service account, and whom of an issuer it is given to.

    name: of the service account; keys made for it (`keys create NAME --service`) are the same caller. claims: what the
    token must say, all of it: claim -> value, or list of values of which one must fit. In text `*` stands for anything
    without `/` and `:`, `**` for anything. A dot steps into an object. roles: names from roles.yaml. team: whose
    limits and budget apply. project: what the spend is booked on. region: where it works. tenant: the organisation, on
    a platform that serves several. scopes: narrow the roles, as those of a key do: a permission, a role, `model:GLOB`,
    `tool:GLOB`. access_seconds: how long its access token is good, at most an hour; there is no refresh token.
    """

    name: str
    claims: dict[str, Wanted]
    roles: tuple[str, ...]
    team: str | None = None
    project: str | None = None
    region: str | None = None
    tenant: str | None = None
    scopes: tuple[str, ...] = ()
    access_seconds: ShortLife = 600.0

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.name):
            raise ValueError("name: letters, digits, space, '.', '_' and '-', at most 64, for example `ci-web`")
        if not self.claims:
            raise ValueError(f"the service account '{self.name}' has no claims: anybody with a token would be it")
        for claim, wanted in self.claims.items():
            if not patterns_of(wanted) or any(not text.strip("*/:") for text in patterns_of(wanted)):
                raise ValueError(f"the claim {claim!r} of '{self.name}' must say more than '*', or be left out")


class FederationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer of tokens for programs (GitHub Actions, GitLab, a Kubernetes cluster) that service accounts come with.

    name: short, in the audit log. issuer: exactly as in the token's `iss`; its keys are found under
    /.well-known/openid-configuration. audience: what the token's `aud` must hold; empty = the address of this
    platform. jwks_file: the issuer's keys as a JWK set in a file, where they cannot be fetched; read again when a key
    is missing. hosts: other hosts that its keys may lie on. algorithms: signatures that are accepted. ca_file: PEM
    file of the authority of its certificate; nothing = the system's. single_use: a token is exchanged once; turn it off
    for a file that holds the same token for an hour, as Kubernetes writes it. accounts: the first whose claims fit
    counts; a token that fits none is refused.
    """

    name: str
    issuer: str
    audience: tuple[str, ...] = ()
    jwks_file: Path | None = None
    hosts: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ALGORITHMS
    ca_file: Path | None = None
    single_use: bool = True
    accounts: tuple[FederatedAccount, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("name must be lower-case letters, digits and '-', at most 32, for example `github`")
        if not self.issuer.startswith(("https://", "http://")):
            raise ValueError(f"the issuer {self.issuer!r} must begin with https://")
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            raise ValueError(f"algorithms may be {', '.join(ALGORITHMS)}; not {', '.join(sorted(unknown))}")
        for account in self.accounts:
            check_owner(self.issuer, account.name, account.claims)
