"""docs/simulator.md names everything a person can set, ask for or look at."""

import re
from pathlib import Path

import pytest

from ai_platform.simulator import SimulatorSettings
from ai_platform.simulator.__main__ import _parser
from ai_platform.simulator.faults import Fault, FaultKind, Match
from ai_platform.simulator.scenarios import SCENARIOS

pytestmark = pytest.mark.requirement("UP-4")

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))
WORDS = {word for span in CODE for word in re.findall(r"--[\w-]+|\w+", span)} | set(re.findall(r'"(\w+)"', PAGE))


def test_every_setting_is_documented() -> None:
    assert set(SimulatorSettings.__struct_fields__) <= WORDS


def test_every_option_is_documented() -> None:
    options = {option for action in _parser()._actions for option in action.option_strings if len(option) > 2}
    assert options - {"--help"} <= WORDS


def test_every_scenario_is_documented() -> None:
    assert set(SCENARIOS) <= CODE


def test_every_fault_and_its_fields_are_documented() -> None:
    assert {kind.value for kind in FaultKind} <= CODE
    assert {*Fault.__struct_fields__, *Match.__struct_fields__} - {"kind"} <= WORDS
