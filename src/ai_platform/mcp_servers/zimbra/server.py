"""The MCP side: resources zimbra://domains and zimbra://mailboxes, tools for health, quota and logs. All only read."""

import asyncio
from typing import Annotated, Any, Literal

import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server.lowlevel import Server

from ai_platform import __version__
from ai_platform.domain.errors import NotFound, UpstreamError
from ai_platform.mcp_servers.marks import ADVICE, fenced
from ai_platform.mcp_servers.toolbox import Context, Toolbox, ToolSpec, success
from ai_platform.mcp_servers.zimbra.entry import Account, Service, Site, Usage, is_address, is_domain
from ai_platform.mcp_servers.zimbra.health import problems, verdict
from ai_platform.mcp_servers.zimbra.logs import Found, Logs, Wanted
from ai_platform.mcp_servers.zimbra.matching import expression, plain

DOMAINS = "zimbra://domains"
MAILBOXES = "zimbra://mailboxes"
MOST_MAILBOXES = 1000
MOST_ASKED_DOMAINS = 100
_READS = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_ABOUT = "The organisation's Zimbra mail server: domains, mailboxes, quotas, health, logs. Nothing can be changed."

File = Literal["mailbox.log", "audit.log", "sync.log"]
Level = Literal["INFO", "WARN", "ERROR", "FATAL"]


class EmailArguments(msgspec.Struct, forbid_unknown_fields=True):
    email: Annotated[
        str, msgspec.Meta(max_length=320, description="The address of an account.", examples=["ada@example.com"])
    ]


class SearchArguments(msgspec.Struct, forbid_unknown_fields=True):
    pattern: Annotated[
        str, msgspec.Meta(min_length=1, max_length=500, description="Text to find; upper and lower case are the same.")
    ]
    log_file: Annotated[File, msgspec.Meta(description="sync.log is ActiveSync's.")]
    lines: Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most; the newest.")] = 100
    level: Annotated[Level | None, msgspec.Meta(description="Only entries of this level or a graver one.")] = None
    regex: Annotated[bool, msgspec.Meta(description="The pattern is a regular expression, within a line.")] = False
    rotated: Annotated[int, msgspec.Meta(ge=0, le=31, description="Look into so many older files, one a day.")] = 0


class ZimbraServer:
    """The handlers. unknown_services: health checks that had to do without the services."""

    def __init__(self, site: Site, logs: Logs) -> None:
        self._site = site
        self._logs = logs
        self._searching = asyncio.Semaphore(2)
        self.unknown_services = 0

    def server(self) -> Server[Any]:
        tools = Toolbox([self._health_tool(), self._quota_tool(), self._search_tool()])
        return Server(
            "zimbra",
            version=__version__,
            title="Zimbra administration",
            instructions=_ABOUT,
            get_tool_input_schema=tools.schema,
            on_list_tools=tools.list,
            on_call_tool=tools.call,
            on_list_resources=self._list,
            on_list_resource_templates=self._templates,
            on_read_resource=self._read,
        )

    def _health_tool(self) -> ToolSpec[EmailArguments]:
        return ToolSpec(
            name="check_mailbox_health",
            title="Check a mailbox",
            description="Whether a mailbox is Healthy, Warning or Critical, and why: state, delivery, quota, services.",
            arguments=EmailArguments,
            call=self._health,
            annotations=_READS,
        )

    def _quota_tool(self) -> ToolSpec[EmailArguments]:
        return ToolSpec(
            name="get_mailbox_quota",
            title="Quota of a mailbox",
            description="Bytes used, the limit in bytes (null: none), and per cent.",
            arguments=EmailArguments,
            call=self._quota,
            annotations=_READS,
        )

    def _search_tool(self) -> ToolSpec[SearchArguments]:
        return ToolSpec(
            name="search_logs",
            title="Search the logs",
            description="The newest entries of a Zimbra log that hold a text, stack traces with them. Logs hold"
            " personal data: ask for no more than is needed.",
            arguments=SearchArguments,
            call=self._search,
            annotations=_READS,
        )

    async def _quota(self, _context: Context, arguments: EmailArguments) -> types.CallToolResult:
        account = await self._account(arguments.email)
        usage = await self._usage(account)
        if usage is None:
            raise NotFound(f"Zimbra tells no usage of {account.name}.")
        return _told(_row(usage))

    async def _health(self, _context: Context, arguments: EmailArguments) -> types.CallToolResult:
        account = await self._account(arguments.email)
        has_mailbox = await self._site.has_mailbox(account)
        usage = await self._usage(account)
        services: list[Service] = []
        unknown = ""
        try:
            services = await self._site.services()
        except UpstreamError as error:  # open: without the logger service Zimbra cannot tell; the rest is still true
            self.unknown_services += 1
            unknown = str(error)
        found = problems(account, usage, has_mailbox=has_mailbox, services=services)
        return _told(
            {
                "email": account.name,
                "health": verdict(found),
                "problems": found,
                "status": account.status,
                "mail_status": account.mail_status,
                "host": account.host,
                "last_login": account.last_login or None,
                "has_mailbox": has_mailbox,
                "quota": _row(usage) if usage else None,
                "services": services or None,
                **({"services_unknown": unknown} if unknown else {}),
            }
        )

    async def _search(self, _context: Context, arguments: SearchArguments) -> types.CallToolResult:
        wanted = Wanted(
            file=arguments.log_file,
            finds=(expression if arguments.regex else plain)(arguments.pattern),
            lines=arguments.lines,
            level=arguments.level or "",
            rotated=arguments.rotated,
        )
        async with self._searching:
            found = await asyncio.to_thread(self._logs.search, wanted)
        return success(_shown(found))

    async def _account(self, email: str) -> Account:
        if not is_address(email):
            raise NotFound("That is no address of an account, such as ada@example.com.")
        account = await self._site.account(email)
        if account is None:
            raise NotFound(f"There is no account {email}.")
        return account

    async def _usage(self, account: Account) -> Usage | None:
        return (await self._site.usage(account.name.rpartition("@")[2])).get(account.name)

    async def _list(self, _context: Context, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=DOMAINS, name="domains", title="Mail domains", mime_type="application/json"),
                types.Resource(
                    uri=MAILBOXES,
                    name="mailboxes",
                    title="Mailboxes",
                    description=f"The {MOST_MAILBOXES} fullest, with what they use.",
                    mime_type="application/json",
                ),
            ]
        )

    async def _templates(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template=f"{MAILBOXES}/{{domain}}",
            name="mailboxes of a domain",
            description=f"The {MOST_MAILBOXES} fullest of one domain.",
            mime_type="application/json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read(self, _context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        domain = params.uri.removeprefix(f"{MAILBOXES}/")
        try:
            if params.uri == DOMAINS:
                told: Any = {"domains": await self._site.domains()}
            elif params.uri == MAILBOXES:
                told = await self._mailboxes(None)
            elif params.uri.startswith(f"{MAILBOXES}/") and is_domain(domain):
                told = await self._mailboxes(domain)
            else:
                raise MCPError(types.INVALID_PARAMS, "There is no such resource.", {"uri": params.uri[:400]})
        except UpstreamError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        text = msgspec.json.format(msgspec.json.encode(told)).decode()
        contents = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[contents])

    async def _mailboxes(self, only: str | None) -> dict[str, Any]:
        every = [domain.name for domain in await self._site.domains() if domain.kind != "alias"]
        asked = [name for name in every if only in {None, name}]
        if not asked and only is not None:
            raise MCPError(types.INVALID_PARAMS, "There is no such domain.", {"domain": only})
        usages: list[Usage] = []
        for name in asked[:MOST_ASKED_DOMAINS]:
            usages += (await self._site.usage(name)).values()
        usages.sort(key=lambda usage: (-(usage.percent or 0.0), -usage.used, usage.name))
        rows = [_row(usage) for usage in usages[:MOST_MAILBOXES]]
        return {"total": len(usages), "mailboxes": rows, "domains_left_out": asked[MOST_ASKED_DOMAINS:]}


def _row(usage: Usage) -> dict[str, Any]:
    return {
        "email": usage.name,
        "used_bytes": usage.used,
        "limit_bytes": usage.limit or None,
        "used_percent": usage.percent,
        **({"system": True} if usage.is_system else {}),
    }


def _told(facts: dict[str, Any]) -> types.CallToolResult:
    structured = msgspec.to_builtins(facts)
    return success(msgspec.json.format(msgspec.json.encode(structured)).decode(), structured)


def _shown(found: Found) -> str:
    said = f"{len(found.entries)} entries of {', '.join(found.files)}, the oldest first."
    if found.more:
        said += " Older ones match, too: narrow the search, or ask for more lines."
    if found.partial:
        said += " Not everything was looked at: there is more than is read at once."
    if not found.entries:
        return f"No entry matches in {', '.join(found.files)}." + (said.partition(".")[2] if found.partial else "")
    return "\n\n".join([said, ADVICE, fenced("log", "\n".join(found.entries))])
