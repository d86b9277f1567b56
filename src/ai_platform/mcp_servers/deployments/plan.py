"""The deployments file: which service is deployed where by which command, and what surrounds it."""

import os
import re
from pathlib import Path
from string import Formatter

import msgspec

from ai_platform.documents import read
from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.caller import Caller

VERSION = r"^v\d+\.\d+\.\d+$"
"""As it is published; what is enforced are ASCII digits and nothing after them."""
_VERSION = re.compile(r"v[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_BLANKS = {"service", "version", "environment"}


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """deploy, rollback: arguments; `{service}`, `{environment}` and, to deploy, `{version}` are filled in.

    folder: where they run; relative to the file. timeout_seconds: five minutes when not given.
    """

    deploy: tuple[str, ...]
    rollback: tuple[str, ...] = ()
    folder: str = "."
    timeout_seconds: float = 300.0


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """url_env: the variable with the webhook's address (it is a secret). channel: named in the message."""

    url_env: str
    channel: str = "#deployments"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """environments: name -> service -> how. identity: who calls when nobody is named (stand-alone).

    environment_variables: what commands see of this process's environment. audit: JSON lines, relative to the file.
    state: folder for locks and last outcomes, relative to the file.
    """

    environments: dict[str, dict[str, Service]]
    identity: Caller | None = None
    notify: Notify | None = None
    environment_variables: tuple[str, ...] = ("PATH", "HOME", "LANG", "USER")
    audit: str = "deployments.jsonl"
    state: str = ".deployments"


class Target(msgspec.Struct, frozen=True):
    """One service in one environment."""

    service: str
    environment: str

    def __str__(self) -> str:
        return f"{self.service} in {self.environment}"

    @property
    def permission(self) -> str:
        return f"deploy:{self.service}:{self.environment}"

    @property
    def file_name(self) -> str:
        return f"{self.environment}.{self.service}"  # names have no dot


def load(path: Path) -> Plan:
    """Raises ConfigError with line, column and remedy."""
    document = read(path, Plan)
    plan = document.value
    if not any(plan.environments.values()):
        raise document.error("'environments' needs at least one environment with one service.", "environments")
    for environment, services in plan.environments.items():
        for name, service in services.items():
            place = ("environments", environment, name)
            for word in (environment, name):
                if not _NAME.fullmatch(word):
                    raise document.error(
                        f"'{word}' must be a lower-case letter, then a-z, 0-9, - or _.", *place, key=True
                    )
            if not service.deploy:
                raise document.error("'deploy' needs at least the program's name.", *place, "deploy")
            for kind, command, blanks in (
                ("deploy", service.deploy, _BLANKS),
                ("rollback", service.rollback, _BLANKS - {"version"}),
            ):
                for number, argument in enumerate(command):
                    if (wrong := _wrong_blank(argument, blanks)) is not None:
                        known = ", ".join(f"{{{blank}}}" for blank in sorted(blanks))
                        sentence = f"'{wrong}' cannot be filled in; known are {known}, and {{{{ for a brace."
                        raise document.error(sentence, *place, kind, number)
            if not 0 < service.timeout_seconds <= 86_400:
                raise document.error("'timeout_seconds' must be above 0 and at most 86400.", *place, "timeout_seconds")
            if not (path.parent / service.folder).is_dir():
                raise document.error("'folder' is not a folder.", *place, "folder")
    return plan


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def filled(command: tuple[str, ...], target: Target, version: str) -> list[str]:
    """The arguments of a command. Values are checked names and versions; each stays within its argument."""
    return [
        argument.format(service=target.service, environment=target.environment, version=version) for argument in command
    ]


def visible_environment(plan: Plan, target: Target, version: str) -> dict[str, str]:
    """What a command sees: the chosen variables and what it is about; no token of this process."""
    chosen = {name: os.environ[name] for name in plan.environment_variables if name in os.environ}
    about = {"SERVICE": target.service, "ENVIRONMENT": target.environment, "VERSION": version}
    return {**chosen, **{f"DEPLOY_{name}": value for name, value in about.items()}}


def webhook(plan: Plan) -> str:
    """The address of the notification, empty when none is wanted.

    Raises:
        ConfigError: its variable is not set.

    """
    if plan.notify is None:
        return ""
    address = os.environ.get(plan.notify.url_env, "")
    if not address.startswith(("https://", "http://")):
        raise ConfigError(f"The variable {plan.notify.url_env} must hold the address of the notification webhook.")
    return address


def _wrong_blank(argument: str, known: set[str]) -> str | None:
    """The first `{…}` that is no plain known name."""
    try:
        pieces = list(Formatter().parse(argument))
    except ValueError:
        return argument
    for _text, name, form, conversion in pieces:
        if name is not None and (name not in known or form or conversion):
            return f"{{{name}}}"
    return None
