"""What a terminal shows of a request: everything, as it is, and nothing that a caller could make it do."""

import pytest
from rich.console import Console

from ai_platform.cli.approvals import _pretty, _table, plain  # pyright: ignore[reportPrivateUsage]

REQUEST = {
    "id": "apr_1",
    "what": "prod-db/query",
    "who": "ann@example.com",
    "team": None,
    "rule": "Production Access",
    "approvers": ["security-team"],
    "expires_at": "2026-11-22T15:00:00Z",
    "state": "pending",
}


def shown(**changes: object) -> str:
    console = Console(width=250, record=True, force_terminal=True, color_system="truecolor")
    with console.capture() as captured:
        console.print(_table([REQUEST | changes]))
    return captured.get()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("a\u202ecte", "a\\u202ecte"),
        ("pay\u200bment", "pay\\u200bment"),
        ("a\rb", "a\\rb"),
        ("a\x00\x07b", "a\\x00\\x07b"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ue000", "\\ue000"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\nb", "a\nb"),
    ],
)
def test_characters_that_hide_or_move_text_are_written_out(text: str, written: str):
    assert plain(text) == written


def test_a_name_cannot_write_on_the_screen_or_in_its_markup():
    out = shown(what="[bold red]x[/]/\x1b[2Jy[link=http://evil]z", who="[blink]eve")
    assert "[bold red]x[/]/\\x1b[2Jy[link=http://evil]z" in out
    assert "[blink]eve" in out
    assert "\x1b[2J" not in out


def test_the_arguments_are_shown_indented_and_whole():
    assert _pretty('{"b": 1, "a": "x\\u202ey"}') == '{\n  "b": 1,\n  "a": "x\\u202ey"\n}'
    assert _pretty('{"a": 1} ... and 5 bytes more') == '{"a": 1} ... and 5 bytes more'
    assert _pretty("") == "What was asked for is not kept any more."


def test_an_empty_list_says_so():
    assert str(_table([])) == "Nothing waits for consent."
