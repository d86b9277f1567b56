"""Names of people, with a model of a few names: where they are looked for, once, in time, and what happens to them."""

import asyncio
import json
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from inspecting import PERSON as ADA
from inspecting import SECRET, call, request

from ai_platform.domain.call import Operation
from ai_platform.domain.errors import Blocked, ConfigError, Refused
from ai_platform.domain.finding import Action, CustomRule, DataClass, Direction, Finding, ProtectionPlan, RuleAction
from ai_platform.protection import Guard, Inspection, ProtectionSettings
from ai_platform.protection.language import NameModel, NamesToo, load_model
from ai_platform.protection.people import People
from ai_platform.protection.settings import NamesSettings
from ai_platform.testing import FakeClock

spacy: Any = pytest.importorskip("spacy", reason="needs the extra `names`")

REDACT = ProtectionPlan(actions=(RuleAction(action=Action.REDACT, type="PERSON"),))
TOLD = "Please write to Grace Hopper that the release is done."
pytestmark = pytest.mark.requirement("DP-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline on disk that knows a few names, as its makers would give it."""
    pipeline = spacy.blank("en")
    named = [[{"TEXT": "Grace"}, {"IS_SPACE": True, "OP": "?"}, {"TEXT": "Hopper"}], "Alan Turing", "Zoë Müller"]
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": pattern} for pattern in named])
    ruler.add_patterns([{"label": "ORG", "pattern": "Acme Limited"}])
    place = tmp_path_factory.mktemp("models") / "names"
    pipeline.to_disk(place)
    return place


class Counting(NameModel):
    """The real model, which also tells what it was asked, and where."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.before: Callable[[], object] = lambda: None

    def spans(self, piece: str) -> list[tuple[int, int]]:
        self.before()
        self.asked.append(piece)
        self.threads.add(threading.get_ident())
        return super().spans(piece)


class Lab:
    def __init__(self, folder: Path, **names: Any) -> None:
        self.clock = FakeClock()
        self.model = Counting(spacy.load(folder))
        settings = ProtectionSettings(names=NamesSettings(model=folder, **names))
        self.people = People(
            self.model,
            self.clock,
            most_characters=settings.names.most_characters,
            remembered=settings.memo_entries,
            secret=SECRET,
        )
        self.guard = Guard(settings, self.clock, secret=SECRET, people=self.people)

    def inspect(
        self, body: bytes, plan: ProtectionPlan = REDACT, operation: Operation = Operation.MESSAGES_CREATE
    ) -> Inspection:
        made = call(body, session="s")
        made = msgspec.structs.replace(made, operation=operation)
        return asyncio.run(self.guard.inspect(ADA, made, plan))

    def value(self, value: Any, direction: Direction, plan: ProtectionPlan = REDACT) -> Inspection:
        return asyncio.run(self.guard.inspect_value(ADA, json.dumps(value).encode(), plan, direction))


@pytest.fixture
def lab(folder: Path):
    made = Lab(folder)
    yield made
    made.people.close()


def names(findings: tuple[Finding, ...] | list[Finding]) -> list[tuple[str, str]]:
    return [(finding.path, finding.action.value) for finding in findings if finding.type == "PERSON"]


def test_a_name_in_a_message_is_only_logged_unless_the_policy_says_more(lab: Lab):
    body = request(TOLD)
    told = lab.inspect(body, ProtectionPlan())
    assert names(told.findings) == [("messages[0].content", "log")]
    assert told.body is body
    assert told.findings[0].data_class is DataClass.PII
    assert TOLD[told.findings[0].start : told.findings[0].end] == "Grace Hopper"
    assert told.new_alerts == told.new_incidents == ()


def test_a_policy_redacts_names_and_says_which_are_none(lab: Lab):
    sent = json.loads(lab.inspect(request(TOLD, "And Zoë Müller and Alan Turing should read it.")).body)
    first, second = (message["content"] for message in sent["messages"])
    assert re.fullmatch(r"Please write to \[REDACTED:PERSON:\w+\] that the release is done\.", first)
    assert second.count("[REDACTED:PERSON:") == 2
    assert "Müller" not in second
    free = ProtectionPlan(actions=REDACT.actions, allow=("Grace*",))
    assert not lab.inspect(request(TOLD), free).changed
    for other in (
        ProtectionPlan(patterns=frozenset({"email"}), actions=REDACT.actions),
        ProtectionPlan(enabled=False),
        ProtectionPlan(scan_input=False),
    ):
        assert names(lab.inspect(request(TOLD), other).findings) == []
    blocking = ProtectionPlan(actions=(RuleAction(action=Action.BLOCK, type="PERSON"),))
    with pytest.raises(Blocked, match="a person's name was found in your message"):
        lab.inspect(request(TOLD), blocking)
    assert lab.inspect(request(TOLD), blocking).changed, "a replay is redacted"


def test_each_text_is_read_once_and_gives_the_same_bytes_on_every_turn(lab: Lab):
    """Also when nothing is remembered any more: the same text gives the same names."""
    turns = [f"Turn {number} is for Grace Hopper and nobody else." for number in range(6)]
    random.Random(4).shuffle(turns)
    before = b""
    for count in range(1, len(turns) + 1):
        sent = lab.inspect(request(*turns[:count])).body
        assert b"Grace" not in sent
        assert sent.startswith(before)
        before = sent.removesuffix(b"]}")
    assert sorted(lab.model.asked) == sorted(turns)
    lab.people._known.clear()
    assert lab.inspect(request(*turns)).body == before + b"]}"


def test_code_and_data_are_not_read(lab: Lab):
    code = (
        "class GraceHopper(Person):\n    def greet(self, other_person: Person) -> str:\n        return f'{self.name}'\n"
    )
    fenced = "```\nthis is for Grace Hopper of course\n```"
    table = "| Grace Hopper | 1906 | 12.5 | x_y |\n| 1 | 2 | 3 | 4 |"
    assert not lab.inspect(request(code, fenced, table, "Grace Hopper")).changed
    assert lab.model.asked == []
    mixed = f"{code}\nThe code above was written by Grace\nHopper a long time ago.\n{code}"
    told = json.loads(lab.inspect(request(mixed)).body)["messages"][0]["content"]
    assert told.count("[REDACTED:PERSON:") == 1, "a name that goes on in the next line is one"
    assert "class GraceHopper(Person)" in told


def test_what_must_stay_as_it_is_stays(lab: Lab):
    """Signed thinking comes back from the client and would break; what tools are is no message."""
    thinking = {"type": "thinking", "thinking": TOLD, "signature": "c2lnbmVk"}
    message = {"role": "assistant", "content": [thinking, {"type": "text", "text": "It is done now."}]}
    tools = [{"name": "send", "description": TOLD, "input_schema": {"type": "object"}}]
    body = request(message, tools=tools)
    assert lab.inspect(body).body is body
    key = {"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {TOLD: 1}}]}
    assert not lab.inspect(request(key)).changed


@pytest.mark.parametrize("direction", list(Direction))
def test_what_tools_get_and_give_is_read_too(lab: Lab, direction: Direction):
    found = lab.value({"content": [{"text": TOLD}], "tools": [{"description": TOLD}]}, direction)
    assert len(names(found.findings)) == 2
    assert b"Grace" not in found.body


def test_a_value_that_is_changed_anyway_wins_over_a_name(lab: Lab):
    """What is only recorded does not."""
    own = CustomRule(name="RECIPIENT", pattern="write to Grace", action=Action.REDACT)
    told = lab.inspect(request(TOLD), ProtectionPlan(custom=(own,), actions=REDACT.actions))
    assert [finding.type for finding in told.findings] == ["RECIPIENT"]
    logged = CustomRule(name="RECIPIENT", pattern="write to Grace", action=Action.LOG)
    told = lab.inspect(request(TOLD), ProtectionPlan(custom=(logged,), actions=REDACT.actions))
    assert sorted(finding.type for finding in told.findings) == ["PERSON", "RECIPIENT"]
    assert b"Hopper" not in told.body
    both = ProtectionPlan(custom=(logged,))
    assert [finding.type for finding in lab.inspect(request(TOLD), both).findings] == ["RECIPIENT"]


def test_an_own_detector_may_have_the_name_of_this_one(lab: Lab):
    own = CustomRule(name="person_name", pattern="Linus T[a-z]+", action=Action.REDACT, message="an author")
    told = lab.inspect(request("This was written by Linus Torvalds and Grace Hopper."), ProtectionPlan(custom=(own,)))
    assert sorted(finding.rule for finding in told.findings) == ["custom-person_name", "person_name"]


def test_what_cannot_be_read_in_time_refuses_the_call_which_gets_further_when_it_comes_again(lab: Lab):
    texts = [f"Paragraph {number} was written by Grace Hopper in the end." for number in range(10)]
    lab.model.before = lambda: lab.clock.advance(2)
    refused = 0
    told = None
    while told is None:
        assert refused < len(texts)
        try:
            told = lab.inspect(request(*texts))
        except Refused as refusal:
            refused += refusal.rule == "protection.time_budget"
    assert refused
    assert lab.guard.refused_unfinished == refused
    assert len(names(told.findings)) == len(texts)
    assert len(lab.model.asked) == len(texts)


def test_more_new_prose_than_a_call_may_bring_refuses_it(folder: Path):
    lab = Lab(folder, most_characters=200)
    texts = [f"Paragraph {number} was written by Grace Hopper in the end." for number in range(5)]
    with pytest.raises(Refused, match=r"protection\.names\.most_characters"):
        lab.inspect(request(*texts))
    assert lab.guard.refused_unfinished == 1
    assert len(names(lab.inspect(request(*texts)).findings)) == 5, "the rest is little enough"
    lab.people.close()


@pytest.mark.anyio
async def test_others_run_while_a_model_reads(lab: Lab):
    """The model waits for something that only the event loop can give it."""
    given = threading.Event()
    lab.model.before = lambda: given.wait(30)
    reading = asyncio.create_task(lab.guard.inspect(ADA, call(request(TOLD)), REDACT))
    while not reading.done() and not given.is_set():
        await asyncio.sleep(0)
        given.set()
    assert (await reading).changed
    assert threading.get_ident() not in lab.model.threads


def test_uploads_answers_and_a_platform_without_a_model_are_left_alone(lab: Lab):
    body = request(TOLD)
    assert not lab.inspect(body, operation=Operation.FILES_CREATE).changed
    answer = json.dumps({"type": "message", "content": [{"type": "text", "text": TOLD}]}).encode()
    told = asyncio.run(lab.guard.inspect_answer(ADA, call(body), REDACT, answer))
    assert told.body == answer
    assert lab.model.asked == []
    plain = Guard(ProtectionSettings(), FakeClock(), secret=SECRET)
    assert not asyncio.run(plain.inspect(ADA, call(body), REDACT)).changed


def test_hostile_texts_are_read_like_others(lab: Lab):
    """Broken JSON, escapes, lone surrogates, one line without an end, another direction of writing."""
    escaped = TOLD.replace("Grace", r"\u0047race").replace("Please", r"\ud83d\ude00 Please")
    body = request("X").replace(b'"X"', b'"' + escaped.encode() + b'"')
    sent = lab.inspect(body).body
    assert b"Hopper" not in sent
    assert sent.count(rb"\ud83d\ude00") == 1
    assert b"Hopper" not in lab.inspect(body[:-3]).body, "it is inspected although it does not end"
    lone = request("X").replace(b'"X"', rb'"a lone \ud83d in a text by Grace Hopper is one"')
    assert b"Hopper" not in lab.inspect(lone).body
    long = "word " * 5000 + "by Grace Hopper"
    assert b"Hopper" not in lab.inspect(request(long)).body
    assert max(map(len, lab.model.asked)) <= 2000


def test_a_model_that_was_trained_finds_what_it_learnt(tmp_path: Path):
    pipeline = spacy.blank("en")
    recogniser = pipeline.add_pipe("ner")
    recogniser.add_label("PERSON")
    texts = [(f"We asked {name} about it.", {"entities": [(9, 9 + len(name), "PERSON")]}) for name in ("Ada", "Grace")]
    examples = [spacy.training.Example.from_dict(pipeline.make_doc(text), marks) for text, marks in texts]
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(30):
        pipeline.update(examples, sgd=optimizer, drop=0.0)
    pipeline.to_disk(tmp_path / "trained")
    model = load_model(tmp_path / "trained", what="protection.names.model")
    assert model.spans(texts[1][0]) == [(9, 14)]
    scanner = NamesToo(ProtectionPlan(), model)
    assert [finding.type for finding in scanner.scan(texts[0][0])] == ["PERSON"]


def test_a_folder_that_is_no_model_is_said_at_start(folder: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"protection\.names\.model: .* is no spaCy model"):
        load_model(tmp_path, what="protection.names.model")
    with pytest.raises(ConfigError, match="is no spaCy model"):
        load_model(Path("json"), what="protection.names.model")  # the name of a package is no folder
    (tmp_path / "config.cfg").write_text("[nlp]\nlang = nonsense")
    with pytest.raises(ConfigError, match="cannot be loaded with spaCy"):
        load_model(tmp_path, what="protection.names.model")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ConfigError, match="knows no names of people"):
        load_model(tmp_path / "blank", what="--names")
    assert load_model(folder, what="--names").spans(TOLD) == [(16, 28)]


def test_without_the_extra_the_setting_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("ai_platform.protection.language.import_module", missing)
    with pytest.raises(ConfigError, match=r'names\.model needs an extra: pip install "ai-platform\[names\]"'):
        load_model(folder, what="protection.names.model")
