"""What travels beside the body of a request: its address and its header fields."""

import asyncio

import msgspec
import pytest
from inspecting import AWS_KEY, DEFAULT, EMAIL, PERSON, REDACT_ALL, SSN, call, new_guard, request

from ai_platform.domain.call import Call
from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action


def beside(path: str = "/v1/messages", query: bytes = b"", body: bytes = b"", **headers: bytes) -> Call:
    fields = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return msgspec.structs.replace(call(body), path=path, query=query, headers=fields)


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize(
    ("made", "place"),
    [
        (beside(x_note=f"ssn {SSN}".encode()), "header x-note"),
        (beside(user_agent=f"curl ssn {SSN}".encode(), body=request("hi")), "header user-agent"),
        (beside(anthropic_beta=f"a,{SSN}".encode()), "header anthropic-beta"),
        (beside(**{f"x-{SSN}": SSN.encode()}), "header *"),
        (beside(query=f"after_id={SSN}".encode()), "address"),
        (beside(query=b"after_id=536%2D22-8491"), "address"),
        (beside(path=f"/v1/files/{SSN}"), "address"),
    ],
)
def test_a_value_in_the_address_or_a_header_field_is_refused_each_time(made: Call, place: str):
    guard = new_guard()
    for attempt in range(2):
        with pytest.raises(Blocked) as caught:
            asyncio.run(guard.inspect(PERSON, made, DEFAULT))
        assert f"({place})" in str(caught.value)
        assert SSN not in str(caught.value) + repr(caught.value.findings)
        assert len(caught.value.news) == (attempt == 0)


def test_header_fields_of_the_platform_and_of_traces_are_not_read():
    made = beside(
        authorization=f"Bearer {AWS_KEY}".encode(),
        x_api_key=AWS_KEY.encode(),
        cookie=f"a={AWS_KEY}".encode(),
        x_datadog_trace_id=b"4111111111111111110",
        traceparent=b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        content_type=b"multipart/form-data; boundary=4111111111111111",
    )
    assert asyncio.run(new_guard().inspect(PERSON, made, DEFAULT)).findings == ()


def test_what_is_known_of_one_header_field_says_nothing_about_another_plan():
    guard = new_guard()
    made = beside(x_user=EMAIL.encode())
    told = asyncio.run(guard.inspect(PERSON, made, DEFAULT))
    assert [(finding.path, finding.action) for finding in told.findings] == [("header x-user", Action.LOG)]
    for _ in range(2):
        with pytest.raises(Blocked):
            asyncio.run(guard.inspect(PERSON, made, REDACT_ALL))
