"""Names of people with a real language model, the small English one of spaCy: what is found and what is left alone."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspecting import PERSON as ADA
from inspecting import SECRET, call, request

from ai_platform.domain.finding import Action, ProtectionPlan, RuleAction
from ai_platform.protection import Guard, ProtectionSettings
from ai_platform.protection.language import NameModel, NamesToo, load_model
from ai_platform.protection.people import People
from ai_platform.protection.settings import NamesSettings
from ai_platform.testing import FakeClock

FOLDER = os.environ.get("AI_PLATFORM_NAMES_MODEL", "")
REDACT = ProtectionPlan(actions=(RuleAction(action=Action.REDACT, type="PERSON"),))
pytestmark = [
    pytest.mark.requirement("DP-1"),
    pytest.mark.skipif(not FOLDER, reason="AI_PLATFORM_NAMES_MODEL does not name the folder of a spaCy model"),
]


@pytest.fixture(scope="module")
def model() -> NameModel:
    return load_model(Path(FOLDER), what="protection.names.model")


@pytest.fixture
def guard(model: NameModel) -> Iterator[Guard]:
    settings = ProtectionSettings(names=NamesSettings(model=Path(FOLDER)))
    people = People(model, FakeClock(), most_characters=10_000, remembered=100, secret=SECRET)
    yield Guard(settings, FakeClock(), secret=SECRET, people=people)
    people.close()


def found(model: NameModel, text: str) -> list[str]:
    findings = NamesToo(ProtectionPlan(), model).scan(text)
    return [text[one.start : one.end] for one in findings if one.type == "PERSON"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Please write to John Smith and Mary Johnson that the build is done.", ["John Smith", "Mary Johnson"]),
        ("The patient, Robert Williams, was born in Boston and lives there.", ["Robert Williams"]),
        ("Yesterday Barack Obama met Angela Merkel in Berlin to talk.", ["Barack Obama", "Angela Merkel"]),
    ],
)
def test_names_in_prose_are_found(model: NameModel, text: str, names: list[str]):
    assert found(model, text) == names


@pytest.mark.parametrize(
    "text",
    [
        "The tests pass now and the build takes two minutes.",
        "Run the Middleware first; the middleware reads its settings from `Config` and calls `GraphQL` after that.",
        "We moved userId and accountName out of HttpClient, see src/app/Main.java for the rest of it.",
        "class Smith(John):\n    def william(self, Robert): return Mary(Robert)\n",
        "```\nJohn Smith wrote this program in one day and was happy.\n```\n",
    ],
)
def test_words_of_software_are_no_people(model: NameModel, text: str):
    assert found(model, text) == []


def test_a_name_ends_with_its_line(model: NameModel):
    text = "Reported by John Smith\nReviewed by Mary Johnson\nThe rest of the text follows here.\n"
    assert not any("\n" in name for name in found(model, text))
    assert "John Smith" in found(model, text)


def test_a_policy_redacts_names_in_a_call(guard: Guard):
    body = request("Please write to John Smith that the build is done.", "And tell nobody about it, please.")
    told = asyncio.run(guard.inspect(ADA, call(body, session="s"), REDACT))
    first, second = (message["content"] for message in json.loads(told.body)["messages"])
    assert first.startswith("Please write to [REDACTED:PERSON:")
    assert first.endswith("] that the build is done.")
    assert second == "And tell nobody about it, please."
    again = asyncio.run(guard.inspect(ADA, call(body, session="s"), REDACT))
    assert again.body == told.body
