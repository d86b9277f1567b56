"""Scenarios without tools: a plain answer, a long text, a leak, an echo, a stream of a given length, a format."""

import re

import msgspec

from ai_platform.simulator.reply import Reply, Text, pieces_of, say
from ai_platform.simulator.scenarios.conversation import Conversation
from ai_platform.simulator.scenarios.sample import sample

MAX_EVENTS = 1_000_000
_ECHO_CHARACTERS = 200
_TAGS = re.compile(r"\[\[[^\]]*\]\]")

LEAK_SSN = "524-71-3896"
LEAK_AWS_KEY = "AKIA" + "Z7MQ3XW5PLK2DVB6"
"""Made up; shaped like the real thing, so that output inspection has something to find."""

_PARAGRAPHS = (
    "This is a simulated answer, written by a script and not by a model.",
    "It has several paragraphs, so that a client has something to render and a gateway has something to inspect.",
    "The words arrive one by one, in the events the real service uses, with pings in between when it is quiet.",
    "Nothing here depends on what was asked; use the other scenarios for work with tools.",
)


def plain(conversation: Conversation) -> Reply:
    """Says that it is simulated and repeats the question, shortened and without control characters."""
    asked = _TAGS.sub("", conversation.ask)
    asked = " ".join("".join(letter if letter.isprintable() else " " for letter in asked).split())
    if len(asked) > _ECHO_CHARACTERS:
        asked = asked[:_ECHO_CHARACTERS].rstrip() + "…"
    question = f' You asked: "{asked}"' if asked else ""
    return say(f"This is a simulated answer: no model was called.{question}", scenario="plain")


def text(conversation: Conversation) -> Reply:
    del conversation
    return say("\n\n".join(_PARAGRAPHS), scenario="text")


def secret(conversation: Conversation) -> Reply:
    """A social security number and an AWS key, each split over several deltas."""
    del conversation
    pieces = (
        *pieces_of("Here is the simulated customer record. SSN: "),
        *(LEAK_SSN[:2], LEAK_SSN[2:5], LEAK_SSN[5:8], LEAK_SSN[8:]),
        *pieces_of(" and the simulated deployment key is "),
        *(LEAK_AWS_KEY[:3], LEAK_AWS_KEY[3:9], LEAK_AWS_KEY[9:14], LEAK_AWS_KEY[14:]),
        *pieces_of(". That is all (simulated)."),
    )
    return Reply((Text(pieces),), "secret")


def echo(argument: str) -> Reply:
    return say(argument, scenario="echo")


def long(argument: str) -> Reply:
    """N text events of ten bytes each."""
    count = min(int(argument), MAX_EVENTS)
    return Reply((Text(("simulated ",) * count),), "long")


def formatted(conversation: Conversation) -> Reply | None:
    """JSON of the schema that output_config.format asks for, None when it asks for none."""
    config = conversation.prompt.body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    return say(msgspec.json.encode(sample(wanted.get("schema"))).decode(), scenario="format")
