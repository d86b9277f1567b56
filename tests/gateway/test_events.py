from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.gateway.events import EventSplitter, Kind, data_of, error_event, kind_of

EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n',
    b": a comment\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"a\\n\\nb"}}\n\n',
    b"event: something_new\ndata: 1\ndata: 2\n\n",
    b'data: {"type":"message_delta"}\n\n',
    b"event: message_stop\r\ndata: {}\r\n\r\n",
)


def split(data: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    events = [event for start, end in pairwise(edges) for event in splitter.feed(data[start:end])]
    return events, splitter.rest


@given(st.lists(st.sampled_from(EVENTS), max_size=8), st.lists(st.integers(min_value=0), max_size=20))
@pytest.mark.requirement("CC-5")
def test_events_come_out_whole_and_in_order_however_the_network_cuts_them(events: list[bytes], cuts: list[int]) -> None:
    found, rest = split(b"".join(events), cuts)
    assert b"".join(found) + rest == b"".join(events)
    assert found == events


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=10))
def test_no_byte_is_ever_lost_or_added(data: bytes, cuts: list[int]) -> None:
    found, rest = split(data, cuts)
    assert b"".join(found) + rest == data


def test_an_endless_event_is_refused() -> None:
    splitter = EventSplitter()
    for _ in range(16):
        assert list(splitter.feed(b"x" * 1024 * 1024)) == []
    with pytest.raises(ValueError, match="16 MiB"):
        list(splitter.feed(b"x"))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (EVENTS[0], Kind.MESSAGE_START),
        (EVENTS[1], Kind.OTHER),
        (EVENTS[2], Kind.PING),
        (EVENTS[3], Kind.DELTA),
        (EVENTS[4], Kind.OTHER),
        (EVENTS[5], Kind.MESSAGE_DELTA),
        (EVENTS[6], Kind.MESSAGE_STOP),
    ],
)
def test_a_kind_is_known_with_and_without_an_event_line(event: bytes, kind: Kind) -> None:
    assert kind_of(event) is kind


def test_data_lines_are_joined_as_the_standard_says() -> None:
    assert data_of(EVENTS[4]) == b"1\n2"
    assert data_of(EVENTS[6]) == b"{}"
    assert data_of(EVENTS[1]) == b""


def test_an_error_event_is_the_shape_clients_print() -> None:
    assert error_event("permission_error", 'a "quoted" reason') == (
        b'event: error\ndata: {"type":"error","error":{"type":"permission_error",'
        b'"message":"a \\"quoted\\" reason"}}\n\n'
    )
