"""`ai-platform policy`: check and test files without a running platform, and show what is in force in a running one."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.bootstrap.detectors import catalogue
from ai_platform.cli.output import Json, emit_json, emit_table, explained, fail
from ai_platform.cli.policy_test import run_cases
from ai_platform.client import AdminClient
from ai_platform.client.admin import default_data_dir
from ai_platform.config import Settings
from ai_platform.documents import DocumentError, load, read_text
from ai_platform.domain.errors import ConfigError
from ai_platform.policy import Policy, Roles
from ai_platform.policy.schema import PolicyFile

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Policy, roles or configuration files; `-` is standard input. Without one: the policy file that"
        " `ai-platform up` would take.",
        show_default=False,
    ),
]

app = typer.Typer(no_args_is_help=True, help="Check and test policy files, and show the policy in force.")

app.command("test")(run_cases)

_COLUMNS = ("rule", "effect", "status")


@app.command()
def check(files: Files = None, *, data: Data = None, as_json: Json = False) -> None:
    """Read files as the platform would and say what each rule does, or what is wrong and where.

    A file with a top-level `roles:` is a roles file, one with `upstreams:`, `server:` and the like a configuration,
    anything else a policy. Exit code 0: all valid; 1: a mistake; 2: used wrongly.
    """
    paths = files or _default_files(data or default_data_dir())
    for path in paths:
        if str(path) != "-" and not path.is_file():
            fail(f"{path} does not exist or is not a file.", code=2)
    results = [_checked(path) for path in paths]
    if as_json:
        emit_json(results)
    else:
        for result in results:
            _show_result(result)
    raise typer.Exit(0 if all(result["ok"] for result in results) else 1)


@app.command()
def show(*, data: Data = None, as_json: Json = False) -> None:
    """The policy in force in the running platform: version, source, and every rule with what becomes of it."""
    with explained(), AdminClient(data) as client:
        policy = client.get("/admin/policy")
    if as_json:
        emit_json(policy)
        return
    emit_table(
        f"Policy {policy['version']} from {policy['source']}", _COLUMNS, policy["rules"], empty="It says nothing."
    )
    if policy["last_error"]:
        Console().print(Text(f"The file as it is now is not in force: {policy['last_error']}", style="bold yellow"))


def _default_files(data: Path) -> list[Path]:
    places = (Path(".claude/policies/enterprise.yaml"), data / "policies" / "enterprise.yaml")
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        tried = " nor ".join(str(path) for path in places)
        fail(f"There is no policy file: neither {tried}. The built-in policy is in force. Name a FILE.", code=2)
    return [found]


def _checked(path: Path) -> dict[str, Any]:
    name = "<stdin>" if str(path) == "-" else str(path)
    result: dict[str, Any] = {"file": name, "kind": "policy", "ok": False, "version": "", "rules": [], "problems": []}
    try:
        text = sys.stdin.read() if str(path) == "-" else read_text(path)
        result["kind"] = kind = _kind(text)
        if kind == "roles":
            roles = Roles.load(text, name=name)
            result["rules"] = [
                {"rule": f"roles.{role}", "effect": ", ".join(listed) or "nothing", "status": "enforced", "where": ""}
                for role, listed in roles.listed.items()
            ]
        elif kind == "configuration":
            load(text, Settings, name=name)
        else:
            source = text if str(path) == "-" else path
            policy = Policy.load(source, name=name, catalogue=catalogue())
            result |= {"version": policy.version, "rules": policy.summary()}
    except DocumentError as error:
        pairs = zip(error.problems, error.excerpts, strict=True)
        result["problems"] = [_problem(error.name, problem, excerpt) for problem, excerpt in pairs]
    except ConfigError as error:
        result["problems"] = [{"where": error.where, "message": str(error), "suggestion": None, "excerpt": ""}]
    return {**result, "ok": not result["problems"]}


def _problem(name: str, problem: Any, excerpt: str) -> dict[str, Any]:
    line, column = problem.position
    return {
        "where": f"{name}:{line}:{column}",
        "line": line,
        "column": column,
        "message": f"{name}:{line}:{column}: {problem}",
        "suggestion": problem.suggestion,
        "excerpt": excerpt,
    }


def _kind(text: str) -> str:
    """By its top-level keys; a text that cannot be read is a policy, whose check says what is wrong with it."""
    try:
        keys = set(load(text, dict[str, Any]))
    except DocumentError:
        return "policy"
    if keys and keys <= {"roles", "role"}:
        return "roles"
    ours, theirs = (len(keys.intersection(shape.__struct_fields__)) for shape in (PolicyFile, Settings))
    return "configuration" if theirs > ours else "policy"


def _show_result(result: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    if not result["ok"]:
        for problem in result["problems"]:
            console.print(Text(problem["message"], style="bold red"))
            if problem["excerpt"]:
                console.print(Text("\n".join(f"    {line}" for line in problem["excerpt"].split("\n"))))
        return
    version = f", version {result['version']}" if result["version"] else ""
    console.print(Text(f"{result['file']}: OK ({result['kind']}{version})", style="bold green"))
    if result["kind"] != "configuration":
        emit_table("", _COLUMNS, result["rules"], empty="It sets nothing; the defaults hold.")
