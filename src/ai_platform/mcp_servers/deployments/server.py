"""The MCP side of the deployments: `deploy_ENVIRONMENT`, `rollback_ENVIRONMENT`, status and abort."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import mcp_types as types
import msgspec
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server

from ai_platform import __version__
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, Unauthenticated
from ai_platform.mcp_servers.caller import Caller, Callers
from ai_platform.mcp_servers.deployments.operator import Operator, sentence
from ai_platform.mcp_servers.deployments.plan import VERSION, Target
from ai_platform.mcp_servers.toolbox import Context, Toolbox, ToolSpec, failure, success

_PROGRESS_SECONDS = 0.1
_CHANGES = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)
_READS = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class Deployments:
    """The handlers."""

    def __init__(self, operator: Operator, callers: Callers) -> None:
        self._operator = operator
        self._callers = callers
        self._environments = operator.plan.environments

    def server(self) -> Server[Any]:
        tools = Toolbox([*self._tools(), self._status_tool(), self._abort_tool()])
        return Server(
            "deployments",
            version=__version__,
            title="Deployments",
            instructions="Deploys and rolls back services. Each call runs at once: ask the person first.",
            lifespan=self._lifespan,
            cache_hints={"tools/list": CacheHint(3_600_000, "public")},
            get_tool_input_schema=tools.schema,
            on_list_tools=tools.list,
            on_call_tool=tools.call,
        )

    @asynccontextmanager
    async def _lifespan(self, _server: Server[Any]) -> AsyncGenerator[dict[str, Any]]:
        try:
            yield {}
        finally:
            await self._operator.close()

    def _tools(self) -> list[ToolSpec[Any]]:
        made: list[ToolSpec[Any]] = []
        for environment, services in self._environments.items():
            named = {"type": "string", "enum": sorted(services), "description": "The service."}
            version = {"type": "string", "pattern": VERSION, "description": "The version, such as v1.2.3."}
            back = sorted(name for name, service in services.items() if service.rollback)
            made.append(self._tool("deploy", environment, {"service": named, "version": version}))
            if back:
                made.append(self._tool("rollback", environment, {"service": {**named, "enum": back}}))
        return made

    def _tool(self, action: str, environment: str, properties: dict[str, Any]) -> ToolSpec[Any]:
        async def call(context: Context, arguments: dict[str, Any]) -> types.CallToolResult:
            return await self._change(action, environment, set(properties), context, arguments)

        doing = "Deploys a version of a service to" if action == "deploy" else "Rolls a service back in"
        return ToolSpec(
            name=f"{action}_{environment}",
            description=f"{doing} {environment} and waits for the end, five minutes at most unless set otherwise. "
            "Its output is sent as progress; the result has its last lines.",
            arguments=dict[str, Any],
            schema=_object(properties, list(properties)),
            call=call,
            annotations=_CHANGES,
        )

    def _status_tool(self) -> ToolSpec[Any]:
        return ToolSpec(
            name="deployment_status",
            description="The running or last deployment of each service that the caller may deploy.",
            arguments=dict[str, Any],
            schema=_object(self._names(), []),
            call=self._status,
            annotations=_READS,
        )

    def _abort_tool(self) -> ToolSpec[Any]:
        return ToolSpec(
            name="abort_deployment",
            description="Emergency stop: ends the running deployment or rollback of a service with all its processes.",
            arguments=dict[str, Any],
            schema=_object(self._names(), ["service", "environment"]),
            call=self._abort,
            annotations=_CHANGES,
        )

    def _names(self) -> dict[str, Any]:
        services = sorted({name for services in self._environments.values() for name in services})
        return {
            "service": {"type": "string", "enum": services},
            "environment": {"type": "string", "enum": sorted(self._environments)},
        }

    async def _change(
        self, action: str, environment: str, known: set[str], context: Context, arguments: dict[str, Any]
    ) -> types.CallToolResult:
        caller = await self._caller(f"{action}_{environment}", context, arguments)
        target = await self._target(action, caller, environment, arguments, known)
        version = arguments.get("version", "")
        async with _Progress(context) as progress:
            outcome = await self._operator.carry_out(action, target, str(version), caller, progress.hear)
        text = "\n".join([sentence(outcome, caller.id), *(["", *outcome.tail] if outcome.tail else [])])
        structured = {key: value for key, value in msgspec.structs.asdict(outcome).items() if key != "tail"}
        made = success(text, structured)
        return made if outcome.outcome == "succeeded" else made.model_copy(update={"is_error": True})

    async def _status(self, context: Context, arguments: dict[str, Any]) -> types.CallToolResult:
        caller = self._callers.of(context.request, context.meta)
        targets = [
            Target(service, environment)
            for environment, services in sorted(self._environments.items())
            for service in sorted(services)
            if arguments.get("service", service) == service and arguments.get("environment", environment) == environment
        ]
        rows: list[dict[str, Any]] = []
        lines: list[str] = []
        for target, state in self._operator.states(caller, targets):
            facts = {} if state is None else msgspec.to_builtins(state)
            facts.pop("group", None)
            rows.append({"service": target.service, "environment": target.environment, **facts})
            known = (
                "nothing known" if state is None else f"{state.action} {state.version} {state.outcome}, {state.started}"
            )
            lines.append(f"{target}: {known}" + (f", by {state.user}" if state else ""))
        return success("\n".join(lines) or "There is nothing that you may deploy.", {"deployments": rows})

    async def _abort(self, context: Context, arguments: dict[str, Any]) -> types.CallToolResult:
        caller = await self._caller("abort", context, arguments)
        target = await self._target(
            "abort", caller, arguments.get("environment"), arguments, {"service", "environment"}
        )
        if await self._operator.abort(target, caller):
            return success(f"The deployment of {target} was aborted.")
        return failure(f"No deployment of {target} is running.")

    async def _caller(self, action: str, context: Context, arguments: Mapping[str, Any]) -> Caller:
        try:
            return self._callers.of(context.request, context.meta)
        except Unauthenticated as error:
            await self._operator.record_refusal(action, arguments, "", str(error))
            raise

    async def _target(
        self, action: str, caller: Caller, environment: Any, arguments: dict[str, Any], known: set[str]
    ) -> Target:
        """Checked against the file, so that what reaches a command is a name the file's author wrote."""
        service = arguments.get("service")
        services = self._environments.get(environment, {}) if isinstance(environment, str) else {}
        reason = ""
        if extra := sorted(set(arguments) - known):
            reason = f"Unknown argument '{extra[0][:60]}'."
        elif not isinstance(service, str) or service not in services:
            reason = f"The service must be one of {', '.join(sorted(services)) or 'those of a known environment'}."
        elif not isinstance(arguments.get("version", ""), str):
            reason = "The version must look like v1.2.3."
        else:
            return Target(service, str(environment))
        facts = {**arguments, "environment": environment}
        await self._operator.record_refusal(action, facts, caller.id, reason)
        raise InvalidCall(Refusal.INVALID_REQUEST, reason)


class _Progress:
    """Sends lines of output as progress, some at a time: a slow client neither slows the command nor fills memory."""

    def __init__(self, context: Context) -> None:
        self._session = context.session
        self._waiting: deque[str] = deque(maxlen=50)
        self._count = 0
        self._news = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_failure: object) -> None:
        assert self._sending is not None
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        if _failure[0] is None:
            await self._flush()

    async def hear(self, line: str) -> None:
        self._count += 1
        self._waiting.append(line)
        self._news.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._flush()
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _flush(self) -> None:
        if self._waiting:
            lines = "\n".join(self._waiting)
            self._waiting.clear()
            await self._session.report_progress(self._count, None, lines)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
