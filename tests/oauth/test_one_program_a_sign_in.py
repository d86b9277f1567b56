"""A sign-in serves one program: the provider is asked about the person on behalf of each, with a token of its own."""

from collections.abc import Iterator

import pytest
from mcp_client import Asking, Person, Tools, answer_in, tools_site
from sso_site import requires_provider

pytestmark = [requires_provider]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    scopes = "[openid, email, profile, groups, offline_access]"
    with tools_site(tmp_path_factory.mktemp("one"), scopes=scopes) as found:
        yield found


def test_a_question_that_was_shown_before_the_sign_in_was_used_needs_another(tools: Tools):
    """A second program without a token of the provider would go on when the provider lets the person in no more."""
    client_id = str(tools.register().json()["client_id"])
    first, second = Asking(tools.url, client_id), Asking(tools.url, client_id)
    with Person(tools, "ann") as ann:
        pages = [ann.open(asking.address) for asking in (first, second)]
        assert "code" in answer_in(ann.browser.submit(pages[0], action="allow"))
        refused = ann.browser.submit(pages[1], action="allow")
        assert refused.status_code == 403
        assert "Sign in again" in refused.text
        page = ann.open(f"{tools.url}/oauth/consent?request={pages[1].url.params['request']}")
        assert "code" in answer_in(ann.browser.submit(page, action="allow")), "after another sign-in it is given"


def test_a_code_on_a_screen_that_was_looked_at_before_needs_another(tools: Tools):
    begun = [tools.here.begin() for _ in range(2)]
    with Person(tools, "ben") as ben:
        pages = []
        for one in begun:
            page = ben.open(f"{tools.url}/device")
            pages.append(ben.browser.submit(page, user_code=one["user_code"], action="look"))
        assert "Approved" in ben.browser.submit(pages[0], action="approve").text
        assert "Sign in again" in ben.browser.submit(pages[1], action="approve").text
    assert tools.here.poll(begun[1]["device_code"]).json()["error"] in {"authorization_pending", "slow_down"}
