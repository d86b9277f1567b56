"""Requests and event streams for the simulator's suite."""

import json
from typing import Any

import httpx2


def body(prompt: str = "Hello", **fields: Any) -> dict[str, Any]:
    """A Messages request; fields replace or add, None removes."""
    request = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }
    return {name: value for name, value in request.items() if value is not None}


async def ask(http: httpx2.AsyncClient, prompt: str = "Hello", **fields: Any) -> dict[str, Any]:
    """The message that answers, of a request that must succeed."""
    response = await http.post("/v1/messages", json=body(prompt, **fields))
    assert response.status_code == 200, response.text
    return response.json()


def events(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(name, data) of every event of a stream; fails on anything that is not one."""
    found: list[tuple[str, dict[str, Any]]] = []
    for frame in raw.decode().split("\n\n"):
        if frame:
            name, data = frame.split("\n")
            assert name.startswith("event: ")
            assert data.startswith("data: ")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def stream(http: httpx2.AsyncClient, prompt: str = "Hello", **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    """All events of a streamed answer."""
    response = await http.post("/v1/messages", json=body(prompt, stream=True, **fields))
    assert response.status_code == 200, response.text
    return events(response.content)


def text_of(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")
