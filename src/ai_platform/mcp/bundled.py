"""The servers that come with the platform, as settings: which program, what it must see, and no more.

They run with this process's own Python. Needs no MCP SDK here. Above: the admin API. Below: settings.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

import ai_platform
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

_INDEX = "/state/index.sqlite"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """module: below ai_platform.mcp_servers. shows: options whose value is a path that it reads, `[LABEL=]PATH`.

    variables: options that name an environment variable. online: options with which it needs the network. outside:
    options with which it runs this machine's own programs, and so without walls. more: further arguments. settings:
    further settings.
    """

    module: str
    shows: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    online: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    settings: dict[str, Any] = {}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "knowledge-base": Recipe(
            module="knowledge_base",
            shows=("--folder",),
            variables=("--dsn-env",),
            online=("--dsn-env",),
            settings={
                "state": True,
                "resources": "open",
                "limits": {"file_mb": 8192, "memory_mb": 2048},
                "idempotent": ["*"],
            },
        ),
        "prompts": Recipe(
            module="prompts",
            shows=("--repository", "--prompts"),
            variables=("--github-token-env",),
            online=("--github",),
        ),
        "deployments": Recipe(
            module="deployments",
            shows=("--file",),
            more=("--caller-from-meta",),
            settings={"trusted": True, "timeout": 900, "retries": 0, "tell_caller": ["deploy:"]},
        ),
        "zimbra": Recipe(
            module="zimbra",
            shows=("--ca", "--commands", "--logs", "--password-file"),
            variables=("--password-env",),
            online=("--url",),
            outside=("--commands",),
            settings={"idempotent": ["*"]},
        ),
        "bridge": Recipe(module="bridge", settings={"state": True}),
    }
)


def bundled(kind: str, arguments: Sequence[str], *, folder: str) -> dict[str, Any]:
    """Settings without a name. arguments: the server's own. folder: what relative paths are relative to.

    Raises:
        InvalidCall: there is no such server, or a path does not exist.

    """
    recipe = RECIPES.get(kind)
    if recipe is None:
        raise InvalidCall(
            Refusal.INVALID_REQUEST, f"No server named '{kind[:60]}' comes along; there are {', '.join(RECIPES)}."
        )
    own, rest = _split(arguments)
    placed, shown = _placed(recipe, own, folder)
    taken = {value: value for option, value in _options(own) if option in recipe.variables}
    settings: dict[str, Any] = {
        **recipe.settings,
        "command": [_interpreter(), "-m", f"ai_platform.mcp_servers.{recipe.module}", *placed, *recipe.more, *rest],
    }
    if kind != "bridge":
        settings["first_use"] = True  # our own words; what a bridge stands before is somebody else's
    if kind == "knowledge-base" and not {"--index", "--dsn-env"} & {option for option, _ in _options(own)}:
        settings["command"] += ["--index", _INDEX]
    if any(option in recipe.outside for option, _ in _options(own)):
        settings["trusted"] = True
    if not settings.get("trusted"):
        settings["read"] = sorted({*_python(), *shown})
        settings["network"] = any(option in recipe.online for option, _ in _options(own))
    if taken:
        settings["env_from"] = taken
    if places := _import_places():
        settings["env"] = {"PYTHONPATH": os.pathsep.join(str(place) for place in places)}
    return settings


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The server's own arguments, and what follows `--` (the command that a bridge runs)."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at:]


def _options(words: Sequence[str]) -> list[tuple[str, str]]:
    """(option, value), also of `--option=value`."""
    found: list[tuple[str, str]] = []
    for at, word in enumerate(words):
        option, given, value = word.partition("=")
        if option.startswith("--"):
            found.append((option, value if given else words[at + 1] if at + 1 < len(words) else ""))
    return found


def _placed(recipe: Recipe, words: Sequence[str], folder: str) -> tuple[list[str], set[str]]:
    """The arguments with absolute paths, and the paths."""
    placed: list[str] = []
    shown: set[str] = set()
    before = ""
    for word in words:
        option, given, value = word.partition("=")
        if option in recipe.shows and given:
            path, label = _path(value, folder)
            placed.append(f"{option}={label}{path}")
            shown.add(path)
        elif before in recipe.shows and not word.startswith("--"):
            path, label = _path(word, folder)
            placed.append(f"{label}{path}")
            shown.add(path)
        else:
            placed.append(word)
        before = word
    return placed, shown


def _path(text: str, folder: str) -> tuple[str, str]:
    """(path, `LABEL=` or nothing)."""
    label, given, rest = text.partition("=")
    path = Path(folder, rest if given else text).expanduser()
    if not path.exists():
        raise InvalidCall(Refusal.INVALID_REQUEST, f"{path} does not exist on the platform's machine.")
    return str(path.resolve()), f"{label}=" if given else ""


def _interpreter() -> str:
    """The Python of this environment, by a path without links above it, since the sandbox follows none."""
    prefix = Path(sys.prefix)
    try:
        return str(prefix.resolve() / Path(sys.executable).relative_to(prefix))
    except ValueError:
        return str(Path(sys.executable).resolve())


def _import_places() -> list[Path]:
    """Of PYTHONPATH, which may be relative to where the platform was started."""
    return [Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _python() -> set[str]:
    """Where this interpreter, its packages and the platform's own code are, unless every sandbox shows that anyway."""
    places = {
        Path(sys.prefix).resolve(),
        Path(sys.base_prefix).resolve(),
        Path(ai_platform.__file__).resolve().parent,
        *_import_places(),
    }
    return {str(place) for place in places if place.exists() and not place.is_relative_to("/usr")}
