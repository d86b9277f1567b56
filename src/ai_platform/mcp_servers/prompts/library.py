"""The organisation's own prompts: Markdown files with a YAML head, or YAML files, in one folder.

`{{name}}` stands for an argument. Files are read again when they change; one that became wrong is left out, counted
and told on standard error (fails open: the other prompts keep working).
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ai_platform.documents import read, read_text
from ai_platform.domain.errors import ConfigError

MOST_PROMPTS = 500
_BLANK = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEAD = re.compile(r"\A---[ \t]*\r?\n(?P<head>.*?)^---[ \t]*\r?$\n?(?P<text>.*)\Z", re.DOTALL | re.MULTILINE)


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """values: offered by completion. default: taken when the argument is not given; it is then not required."""

    description: str = ""
    required: bool = True
    values: tuple[str, ...] = ()
    default: str = ""


class OwnPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: the file's name without its ending when not given. text: in Markdown files, what follows the head."""

    name: str = ""
    title: str = ""
    description: str = ""
    arguments: dict[str, Argument] = {}
    text: str = ""

    def filled(self, values: Mapping[str, str]) -> str:
        """Each blank once; what a value contains is not looked at again."""

        def fill(blank: re.Match[str]) -> str:
            return values.get(blank[1]) or self.arguments[blank[1]].default

        return _BLANK.sub(fill, self.text)


class Library:
    """current(): the prompts by name. wrong: files that could not be used, counted each time one changes."""

    def __init__(self, folder: Path | None, reserved: frozenset[str]) -> None:
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"--prompts {folder} is not a folder.")
        self._folder = folder
        self._reserved = reserved
        self._seen: dict[Path, tuple[int, int]] = {}
        self._prompts: dict[str, OwnPrompt] = {}
        self.wrong = 0
        self._load(strict=True)

    def current(self) -> dict[str, OwnPrompt]:
        if self._stamps() != self._seen:
            self._load(strict=False)
        return self._prompts

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        paths = sorted(path for path in self._folder.iterdir() if path.suffix in {".md", ".yaml", ".yml"})
        stamps: dict[Path, tuple[int, int]] = {}
        for path in paths[:MOST_PROMPTS]:
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps

    def _load(self, *, strict: bool) -> None:
        self._seen = self._stamps()
        prompts: dict[str, OwnPrompt] = {}
        for path in self._seen:
            try:
                prompt = read_prompt(path)
                if prompt.name in prompts or prompt.name in self._reserved:
                    raise ConfigError(f"There already is a prompt named '{prompt.name}'.", where=str(path))
            except ConfigError as error:
                if strict:
                    raise
                self.wrong += 1
                sys.stderr.write(f"{error}\n")
            else:
                prompts[prompt.name] = prompt
        self._prompts = prompts


def read_prompt(path: Path) -> OwnPrompt:
    """Raises ConfigError with the place in the file."""
    text = read_text(path)
    if path.suffix == ".md":
        parts = _HEAD.match(text)
        head = "\n" + parts["head"] if parts else "{}"  # the first mark's line is kept, so that lines are counted right
        prompt = read(head if head.strip() else "{}", OwnPrompt, name=str(path)).value
        prompt = msgspec.structs.replace(prompt, text=parts["text"] if parts else text)
    else:
        prompt = read(path, OwnPrompt).value
    prompt = msgspec.structs.replace(prompt, name=prompt.name or path.stem)
    if not _NAME.fullmatch(prompt.name):
        raise ConfigError(f"The name '{prompt.name}' must be letters, digits, '_', '.' or '-'.", where=str(path))
    if not prompt.text.strip():
        raise ConfigError("The prompt has no text.", where=str(path))
    for name in _BLANK.findall(prompt.text):
        if name not in prompt.arguments:
            known = ", ".join(sorted(prompt.arguments)) or "none"
            raise ConfigError(f"'{{{{{name}}}}}' is no argument; 'arguments' has: {known}.", where=str(path))
    return prompt
