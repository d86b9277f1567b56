"""Names at the door to all servers lead to one tool of one server, whatever the servers call theirs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.mcp.names import own_uri, server_in, visible_name, visible_uri, with_visible_uris
from ai_platform.mcp.settings import LONGEST_NAME, NAME

pytestmark = pytest.mark.requirement("MC-1")

SERVERS = st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= LONGEST_NAME)
TOOLS = st.text(min_size=1, max_size=200) | st.from_regex(r"[a-z_]{1,8}(__[a-z_]{1,8})?", fullmatch=True)
URIS = st.from_regex(r"[a-z]{1,5}(\+[a-z]{1,3})?://[ -~]{0,20}", fullmatch=True)


@given(SERVERS, TOOLS, st.integers(LONGEST_NAME + 16, 128))
def test_a_visible_name_is_one_that_clients_take_and_begins_with_its_server(server: str, tool: str, longest: int):
    visible = visible_name(server, tool, longest)
    assert len(visible) <= longest
    assert re.fullmatch(r"[A-Za-z0-9_-]+", visible)
    assert server_in(visible) == server


@given(SERVERS, TOOLS, SERVERS, TOOLS)
def test_two_tools_never_share_a_visible_name(server: str, tool: str, other_server: str, other_tool: str):
    same = (server, tool) == (other_server, other_tool)
    assert (visible_name(server, tool, 64) == visible_name(other_server, other_tool, 64)) is same


@given(SERVERS, URIS)
def test_a_visible_uri_leads_back_to_its_server_and_its_own_uri(server: str, uri: str):
    assert own_uri(visible_uri(server, uri)) == (server, uri)


@pytest.mark.parametrize("uri", ["", "kb://1", "a_b+kb://1", "http://x/a+b", "mailto:a+b@c"])
def test_a_uri_without_a_server_has_none(uri: str):
    assert own_uri(uri) == ("", uri)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_results_of_any_shape_pass(value: object):
    for key in ("contents", "content", "messages", "other"):
        assert set(with_visible_uris("one", {key: value})) == {key}


def test_uris_are_renamed_wherever_they_are_links_and_nowhere_else():
    result = with_visible_uris(
        "wiki",
        {
            "content": [
                {"type": "text", "text": "see kb://1", "uri": "kb://1"},
                {"type": "resource_link", "uri": "kb://1", "name": "One"},
                {"type": "resource", "resource": {"uri": "kb://1", "text": "."}},
            ],
            "structuredContent": {"uri": "kb://1"},
        },
    )
    assert [block.get("uri") for block in result["content"]] == ["kb://1", "wiki+kb://1", None]
    assert result["content"][2]["resource"]["uri"] == "wiki+kb://1"
    assert result["structuredContent"] == {"uri": "kb://1"}
