"""GET /v1/models and /v1/models/{id}: the catalogue in the API's paging shape."""

from collections.abc import Mapping
from typing import Any

from ai_platform.simulator.answers import Answer, json_payload
from ai_platform.simulator.catalogue import BY_ID, CARDS, ModelCard
from ai_platform.simulator.errors import invalid, not_found


def listing(query: Mapping[str, str]) -> Answer:
    """One page of models, newest first."""
    return json_payload(page([info(card) for card in CARDS], query))


def one(model: str) -> Answer:
    card = BY_ID.get(model)
    if card is None:
        raise not_found(f"model: {model}")
    return json_payload(info(card))


def info(card: ModelCard) -> dict[str, Any]:
    return {
        "type": "model",
        "id": card.id,
        "display_name": card.name,
        "created_at": card.created_at,
        "capabilities": None,
        "deprecated_at": None,
        "lifecycle": "deprecated" if card.retires_at else "active",
        "line": card.line,
        "max_input_tokens": card.context,
        "max_tokens": card.max_output,
        "retires_at": card.retires_at,
    }


def page(items: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """`{data, has_more, first_id, last_id}` for limit (1-1000, default 20), after_id or before_id.

    Raises:
        ApiError: 400, a limit out of range.

    """
    text = query.get("limit", "20")
    limit = int(text) if text.isdigit() else 0
    if not 1 <= limit <= 1000:
        raise invalid("limit: Input should be between 1 and 1000")
    places = {str(item["id"]): place for place, item in enumerate(items)}
    if "before_id" in query:
        end = places.get(query["before_id"], 0)
        start = max(0, end - limit)
        more = start > 0
    else:
        start = places.get(query["after_id"], len(items)) + 1 if "after_id" in query else 0
        end = min(len(items), start + limit)
        more = end < len(items)
    data = items[start:end]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
