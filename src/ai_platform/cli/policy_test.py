"""`ai-platform policy test`: runs cases from files against a policy, without a running platform."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from ai_platform.bootstrap.detectors import catalogue
from ai_platform.cli.output import Json, emit_json, emit_table, fail
from ai_platform.documents import DocumentError, read
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.finding import Action, Finding
from ai_platform.policy import Policy
from ai_platform.policy.cases import CasesFile, Tester, problems_of
from ai_platform.policy.view import Surroundings
from ai_platform.protection.rules import ALL

Cases = Annotated[list[Path], typer.Argument(help="Files of cases.", show_default=False)]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="Policy file to test; otherwise the one that each file of cases names.")
]


def run_cases(cases: Cases, *, policy: PolicyFile = None, as_json: Json = False) -> None:
    """Decide each case as the platform would, and say which came out otherwise than the file wants.

    Exit code 0: all as wanted; 1: a case came out otherwise, or a file has a mistake; 2: used wrongly.
    """
    results = [_run(path, policy) for path in cases]
    if as_json:
        emit_json(results)
    else:
        for result in results:
            _show(result)
    raise typer.Exit(0 if all(result["ok"] for result in results) else 1)


def _run(path: Path, policy: Path | None) -> dict[str, Any]:
    if not path.is_file():
        fail(f"{path} does not exist or is not a file.", code=2)
    result: dict[str, Any] = {"file": str(path), "policy": "", "ok": False, "error": "", "cases": []}
    try:
        document = read(path, CasesFile)
        if problems := list(problems_of(document, _finding_of)):
            raise document.errors(problems)
        named = policy or (path.parent / document.value.policy if document.value.policy else None)
        if named is None:
            fail(f"{path} names no policy. Write `policy: FILE` in it, or give --policy FILE.", code=2)
        result["policy"] = str(named)
        tester = Tester(partial(_load, named), _finding_of)
    except (DocumentError, ConfigError) as error:
        return result | {"error": str(error)}
    now = time.time()
    outcomes = [tester.run(case, now) for case in document.value.cases]
    return result | {
        "ok": not any(outcome.wrong for outcome in outcomes),
        "cases": [msgspec.structs.asdict(outcome) for outcome in outcomes],
    }


def _load(path: Path, surroundings: Surroundings) -> Policy:
    return Policy.load(path, catalogue=catalogue(), surroundings=surroundings)


def _finding_of(kind: str) -> Finding | None:
    """As inspection would report it: class and severity of the first detector of this type."""
    rule = next((rule for rule in ALL if rule.type == kind), None)
    if rule is None:
        return None
    return Finding(
        start=0,
        end=1,
        data_class=rule.data_class,
        type=rule.type,
        rule=rule.id,
        tier=rule.tier,
        severity=rule.severity,
        action=Action.LOG,
    )


def _show(result: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    if result["error"]:
        console.print(Text(result["error"], style="bold red"))
        return
    outcomes: list[dict[str, Any]] = result["cases"]
    wrong = [outcome for outcome in outcomes if outcome["wrong"]]
    style = "bold red" if wrong else "bold green"
    count = f"{len(outcomes) - len(wrong)} of {len(outcomes)} as wanted"
    console.print(Text(f"{result['file']}: {count} (policy {result['policy']})", style=style))
    if wrong:
        emit_table("", ("name", "wrong", "message"), wrong, empty="")
