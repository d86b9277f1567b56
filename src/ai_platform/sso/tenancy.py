"""Issuers that everybody in the world can get a token from, and the claims that say whose it is.

With such an issuer a condition that leaves the owner open lets strangers in, so it is refused when settings are read.
Sources: the vendors' pages on OpenID Connect claims of GitHub Actions, GitLab CI/CD and Google accounts.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ai_platform.sso.claims import patterns_of

_WHOLE = re.compile(r"[^*]+")
_OWNED = re.compile(r"[^*/]+/.+", re.DOTALL)

OWNERS: Mapping[str, Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "https://token.actions.githubusercontent.com": {
            "repository": _OWNED,
            "repository_id": _WHOLE,
            "repository_owner": _WHOLE,
            "repository_owner_id": _WHOLE,
            "enterprise": _WHOLE,
            "enterprise_id": _WHOLE,
            "sub": re.compile(r"repo:[^*/]+/.+", re.DOTALL),
        },
        "https://gitlab.com": {
            "project_path": _OWNED,
            "project_id": _WHOLE,
            "namespace_path": re.compile(r"[^*/]+(?:/.+)?", re.DOTALL),
            "namespace_id": _WHOLE,
            "sub": re.compile(r"project_path:[^*/]+/.+", re.DOTALL),
        },
        "https://accounts.google.com": {"sub": _WHOLE, "email": _WHOLE},
    }
)
"""Issuer -> claim -> what a pattern for it must look like to name an owner."""


def check_owner(issuer: str, account: str, claims: Mapping[str, Any]) -> None:
    """Raises ValueError: with this issuer the claims say nothing about whose token it must be."""
    owners = OWNERS.get(issuer.rstrip("/"))
    if owners is None:
        return
    for claim, shape in owners.items():
        if claim in claims and all(shape.fullmatch(text) for text in patterns_of(claims[claim])):
            return
    raise ValueError(
        f"everybody can get a token of {issuer}, and the claims of '{account}' do not say whose it must be: name the"
        f" owner without '*' in one of {', '.join(owners)}"
    )
