"""The MCP side of the prompt library: list, get, completion."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server.lowlevel import Server

from ai_platform import __version__
from ai_platform.mcp_servers.prompts.library import Library, OwnPrompt
from ai_platform.mcp_servers.prompts.material import Changes, Files, Unfilled
from ai_platform.mcp_servers.prompts.texts import code_review, refactor_assessment, security_audit
from ai_platform.mcp_servers.toolbox import Context

LONGEST_ARGUMENT = 4000
MOST_VALUES = 100  # of a completion (specification, server/utilities/completion)
NAMES = frozenset({"code_review", "security_audit", "refactor_assessment"})
_FOCUS = ("correctness", "security", "performance", "tests", "readability", "error handling", "API design")

Values = Callable[[], Awaitable[list[str]]]


class BuiltIn(msgspec.Struct, frozen=True):
    """One of the three. values: what completion offers for an argument."""

    prompt: types.Prompt
    fill: Callable[[Mapping[str, str]], Awaitable[str]]
    values: Mapping[str, Values]


class Prompts:
    """The handlers. changes: where pull requests come from. files: for what needs the files themselves."""

    def __init__(self, changes: Changes | None, files: Files | None, library: Library) -> None:
        self._changes = changes
        self._files = files
        self._library = library
        self._built_in = {built_in.prompt.name: built_in for built_in in self._three()}

    def server(self) -> Server[Any]:
        return Server(
            "prompts",
            version=__version__,
            title="Prompt library",
            instructions="Prompts for reviews, audits and assessments, filled with the code they are about.",
            on_list_prompts=self._list,
            on_get_prompt=self._get,
            on_completion=self._complete,
        )

    async def close(self) -> None:
        """Nothing is held."""

    async def _list(self, _context: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        own = [_published(prompt) for prompt in self._library.current().values()]
        built_in = [built_in.prompt for built_in in self._built_in.values()]
        return types.ListPromptsResult(prompts=sorted([*built_in, *own], key=lambda prompt: prompt.name))

    async def _get(self, _context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        given = params.arguments or {}
        built_in, own = self._built_in.get(params.name), self._library.current().get(params.name)
        if built_in is not None:
            _check(built_in.prompt, given)
            description = built_in.prompt.description
            try:
                text = await built_in.fill(given)
            except Unfilled as error:
                raise MCPError(types.INVALID_PARAMS, str(error)) from error
        elif own is not None:
            _check(_published(own), given)
            description, text = own.description, own.filled(given)
        else:
            raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name[:100]!r}.")
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=description, messages=[message])

    async def _complete(self, _context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        if not isinstance(params.ref, types.PromptReference):
            raise MCPError(types.INVALID_PARAMS, "Only arguments of prompts can be completed.")
        built_in, own = self._built_in.get(params.ref.name), self._library.current().get(params.ref.name)
        known: list[str] = []
        if built_in is not None:
            if (values := built_in.values.get(params.argument.name)) is not None:
                try:
                    known = await values()
                except Unfilled:
                    known = []  # open: a completion is a convenience
        elif own is not None:
            argument = own.arguments.get(params.argument.name)
            known = list(argument.values) if argument else []
        else:
            raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.ref.name[:100]!r}.")
        typed = params.argument.value.casefold()
        found = [value for value in known if value.casefold().startswith(typed)]
        completion = types.Completion(values=found[:MOST_VALUES], total=len(found), has_more=len(found) > MOST_VALUES)
        return types.CompleteResult(completion=completion)

    def _three(self) -> list[BuiltIn]:
        review = _prompt(
            "code_review",
            "Reviews a pull request: summary, file by file, actions, verdict.",
            pr_number=("The pull request's number; 0 for the branch that is checked out.", True),
            focus=("What to pay particular attention to.", False),
        )
        audit = _prompt(
            "security_audit",
            "Audits files for vulnerabilities.",
            files=("Which tracked files: a glob such as src/**/*.py; several are separated by commas.", True),
        )
        assessment = _prompt(
            "refactor_assessment",
            "Assesses whether and how a folder should be refactored.",
            directory=("The folder, relative to the repository; . for all of it.", True),
        )
        return [
            BuiltIn(review, self._code_review, {"pr_number": self._numbers, "focus": _focus}),
            BuiltIn(audit, self._security_audit, {"files": self._globs}),
            BuiltIn(assessment, self._refactor_assessment, {"directory": self._directories}),
        ]

    async def _code_review(self, given: Mapping[str, str]) -> str:
        if self._changes is None:
            raise Unfilled("No source of pull requests is set up: start the server with --github or --repository.")
        number = given["pr_number"].strip().removeprefix("#")
        if not (number.isascii() and number.isdecimal() and len(number) <= 9):
            raise Unfilled("pr_number must be a whole number.")
        return code_review(await self._changes.change(int(number)), " ".join(given.get("focus", "").split())[:500])

    async def _security_audit(self, given: Mapping[str, str]) -> str:
        repository = self._source()
        patterns = [pattern.strip() for pattern in given["files"].split(",") if pattern.strip()]
        if not patterns:
            raise Unfilled("files needs a glob such as src/**/*.py.")
        files, more = await repository.matching(patterns)
        return security_audit(", ".join(patterns), await repository.commit(), files, more)

    async def _refactor_assessment(self, given: Mapping[str, str]) -> str:
        repository = self._source()
        measures, more = await repository.measures(given["directory"].strip())
        return refactor_assessment(given["directory"].strip(), await repository.commit(), measures, more)

    def _source(self) -> Files:
        if self._files is None:
            raise Unfilled("This prompt needs the files: start the server with --repository or --github.")
        return self._files

    async def _numbers(self) -> list[str]:
        return await self._changes.numbers() if self._changes else []

    async def _directories(self) -> list[str]:
        paths = await self._source().paths()
        folders = {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}
        return [".", *sorted(folders)]

    async def _globs(self) -> list[str]:
        paths = await self._source().paths()
        endings = {path.rpartition(".")[2] for path in paths if "." in path.rpartition("/")[2]}
        return [
            *(f"**/*.{ending}" for ending in sorted(endings)),
            *(f"{name}/**" for name in (await self._directories())[1:]),
            *paths,
        ]


async def _focus() -> list[str]:
    return list(_FOCUS)


def _prompt(name: str, description: str, **arguments: tuple[str, bool]) -> types.Prompt:
    listed = [
        types.PromptArgument(name=argument, description=meaning, required=required)
        for argument, (meaning, required) in arguments.items()
    ]
    return types.Prompt(name=name, description=description, arguments=listed)


def _published(prompt: OwnPrompt) -> types.Prompt:
    arguments = [
        types.PromptArgument(
            name=name, description=argument.description or None, required=argument.required and not argument.default
        )
        for name, argument in prompt.arguments.items()
    ]
    return types.Prompt(
        name=prompt.name, title=prompt.title or None, description=prompt.description or None, arguments=arguments
    )


def _check(prompt: types.Prompt, given: Mapping[str, str]) -> None:
    known = {argument.name: argument for argument in prompt.arguments or []}
    for name, argument in known.items():
        if argument.required and not given.get(name, "").strip():
            raise MCPError(types.INVALID_PARAMS, f"The argument '{name}' of {prompt.name} is missing.")
    for name, value in given.items():
        if name not in known:
            raise MCPError(types.INVALID_PARAMS, f"{prompt.name} has no argument '{name[:60]}'.")
        if len(value) > LONGEST_ARGUMENT or "\0" in value:
            raise MCPError(
                types.INVALID_PARAMS, f"'{name}' is longer than {LONGEST_ARGUMENT} characters, or holds a NUL."
            )
