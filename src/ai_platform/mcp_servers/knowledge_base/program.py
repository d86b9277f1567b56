"""Command line of the knowledge base."""

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import Server

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.knowledge_base.entry import Index
from ai_platform.mcp_servers.knowledge_base.folders import Folder, named
from ai_platform.mcp_servers.knowledge_base.postgres import open_postgres
from ai_platform.mcp_servers.knowledge_base.server import KnowledgeBase
from ai_platform.mcp_servers.knowledge_base.sqlite import SqliteIndex
from ai_platform.mcp_servers.serving import Closing, add_options, read_options, run, secret_from


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.mcp_servers.knowledge_base",
        description="Folders of Markdown, text, HTML and data files as MCP resources with full-text search.",
    )
    add = parser.add_argument
    add("--folder", action="append", required=True, metavar="[LABEL=]PATH", help="documents; may be repeated")
    add("--index", type=Path, metavar="FILE", help="the SQLite index; default: one for these folders in the cache")
    add("--dsn-env", metavar="NAME", default="", help="variable with a PostgreSQL DSN: keep the index there instead")
    add("--collection", metavar="NAME", default="default", help="with PostgreSQL: name of this set of folders")
    add("--language", metavar="NAME", default="english", help="with PostgreSQL: text search configuration")
    add("--max-bytes", type=int, metavar="N", default=2 << 20, help="larger files are left out (default: 2 MiB)")
    add("--refresh", type=float, metavar="SECONDS", default=60.0, help="time between passes over the folders")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the client leaves or a signal. Raises ConfigError."""
    options = _parser().parse_args(arguments)
    if options.max_bytes < 1 or not options.refresh > 0:
        raise ConfigError("--max-bytes and --refresh must be greater than zero.")
    serving = read_options(options)
    folders = named(options.folder)

    async def prepare() -> tuple[Server[Any], Closing]:
        index: Index
        if options.dsn_env:
            index = await open_postgres(secret_from(options.dsn_env), options.collection, options.language)
        else:
            index = SqliteIndex(options.index or _default_index(folders))
        base = KnowledgeBase(index, folders, most_bytes=options.max_bytes, every=options.refresh)
        return base.server(), base.close

    return run(serving, prepare)


def _default_index(folders: list[Folder]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    names = "\0".join(f"{folder.label}={folder.path}" for folder in folders)
    return cache / "ai-platform" / f"knowledge-base-{hashlib.sha256(names.encode()).hexdigest()[:16]}.sqlite"
