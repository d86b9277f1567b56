"""The page on which people choose where to sign in: by a button, or by their address when several would do.

Plain links and one form: it works without scripts and from the keyboard alone. Above: browser.
"""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from ai_platform.entrypoints.signin.web import Page, form_get, text
from ai_platform.sso.settings import IdentityProvider

LOGIN = "/auth/login"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the address of the page says. return_to: a page of ours. tenant: whose providers are shown, "" = all."""

    return_to: str
    tenant: str = ""
    email: str = ""


def offered(providers: Iterable[IdentityProvider], wish: Wish) -> list[IdentityProvider]:
    """Those of the tenant that was named, and those of none."""
    return [one for one in providers if not wish.tenant or one.tenant in {"", wish.tenant}]


def for_address(providers: Iterable[IdentityProvider], email: str) -> list[IdentityProvider]:
    """Providers that say they speak for the address's domain."""
    domain = email.rpartition("@")[2].strip().lower()
    return [one for one in providers if domain in one.domains]


def chooser(
    providers: Sequence[IdentityProvider], wish: Wish, *, emergency: str = "", note: str = "", status: int = 200
) -> Page:
    """emergency: the address of the break-glass page, "" = there is none. note: HTML that stands first."""
    buttons = "".join(_button(provider, wish) for provider in providers)
    by_address = ""
    if sum(bool(provider.domains) for provider in providers) > 1:
        kept = {"return_to": wish.return_to} | ({"tenant": wish.tenant} if wish.tenant else {})
        inner = (
            '<label for="email">Or tell us your work address</label><input id="email" name="email" type="email"'
            f' autocomplete="username" required maxlength="254" value="{text(wish.email)}">'
            "<button>Continue</button>"
        )
        by_address = "<hr>" + form_get(LOGIN, kept, inner)
    last = f'<p class="soft"><a href="{text(emergency)}">Emergency access</a></p>' if emergency else ""
    return Page("Sign in", f"{note}{buttons}{by_address}{last}", status)


def _button(provider: IdentityProvider, wish: Wish) -> str:
    domains = ", ".join(f"@{domain}" for domain in sorted(provider.domains)[:3])
    more = f" and {len(provider.domains) - 3} more" if len(provider.domains) > 3 else ""
    small = f"<small>{text(domains + more)}</small>" if domains else ""
    href = login_link({"provider": provider.name, "return_to": wish.return_to})
    return f'<a class="button choice" href="{text(href)}">{text(provider.shown)}{small}</a>'


def login_link(query: Mapping[str, str]) -> str:
    return f"{LOGIN}?{urlencode(query)}"
