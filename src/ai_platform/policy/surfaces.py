"""What a proposed tool call would do: its texts, and whether it reaches a database.

A filter on database queries must see `psql -h prod-db`, `mcp__prod_sql__run` and `{"sql": "DROP TABLE t"}`, and must
not see a file being edited that mentions them. docs/policy.md states these rules. Above: filters.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_DATABASE_WORD = re.compile(
    r"sql|dbs?|databases?|postgres(?:ql)?|mysql|mariadb|sqlite|mssql|oracle|plsql|mongo(?:db)?|redis|valkey|bigquery|"
    r"snowflake|clickhouse|cassandra|cql|dynamodb|redshift|athena|databricks|duckdb|cockroachdb|neo4j|cypher|supabase|"
    r"planetscale|elasticsearch|opensearch|influxdb",
    re.IGNORECASE,
)
"""A tool whose name holds one of these words works on a database."""

_DATABASE_KEY = re.compile(
    r"sql|sql_?query|sql_statement|statements?|ddl|dml|database|db|dsn|datasource|connection_?string|database_url|jdbc_url"
)
"""Arguments that only a tool on a database has."""

_SHELL_KEYS = frozenset({"command", "cmd", "script", "code", "commands", "args"})
"""Arguments that are run. Only the programs they start decide whether a database is reached."""

_CLIENT = re.compile(
    r"(?<![\w.-])(?:psql|pgcli|pg_dump|pg_restore|mysql|mysqldump|mycli|mariadb|sqlite3|sqlcmd|sqlplus|mongo|mongosh|"
    r"mongodump|redis-cli|valkey-cli|clickhouse(?:-client)?|cqlsh|bq|snowsql|usql|duckdb|litecli|cockroach|impala-shell|"
    r"beeline|osql|bcp|rails\s+db|prisma\s+db|flyway|liquibase)(?![\w-])"
    r"|(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|rediss|sqlserver|oracle|clickhouse|jdbc:\w+)(?:\+\w+)?://"
    r"|\.execute(?:many|script)?\s*\(",
    re.IGNORECASE,
)

_NEXT_COMMAND = re.compile(r"\|+|&+|;|\n|\$\(|`")

_READER = re.compile(
    r"\s*(?:sudo\s+)?(?:e?grep|fgrep|rg|ag|ack|cat|less|more|head|tail|ls|wc|diff|git|gh|man|which|echo|printf|cd|"
    r"(?:apt|apt-get|brew|pip3?|uv|npm|yarn|pnpm|dnf|yum|apk)\s+(?:-\S+\s+)*(?:install|add|i|info|show|search))\s"
)
"""Commands that read, print or install, so that a database client in their arguments is only a word."""

_SQL_SHAPE = re.compile(
    r"\s*(?:explain\s+(?:analy[sz]e\s+)?)?(?:select\b.*\bfrom\b|insert\s+into\b|update\b.*\bset\b|delete\s+from\b|"
    r"(?:drop|create|alter|truncate)\s+(?:or\s+replace\s+)?(?:table|database|schema|index|view|materialized|function|"
    r"procedure|role|user|type|sequence|trigger|extension)\b|grant\b.*\bto\b|revoke\b.*\bfrom\b|merge\s+into\b|"
    r"with\b.*\bas\s*\(|call\s+[\w.]+\s*\(|exec(?:ute)?\s|copy\b.*\b(?:from|to)\b)",
    re.IGNORECASE | re.DOTALL,
)
"""A statement, and not an English sentence that begins with "select" or "create"."""

_SPACES = re.compile(r"\s+")


class Surfaces:
    """texts: everything in the arguments. database: the texts of a call that reaches a database (its name first),
    empty otherwise. statements: those texts as a SQL parser reads them, see `_as_sql`. commands: texts that are run.
    """

    __slots__ = ("commands", "database", "statements", "texts")

    def __init__(self, name: str, arguments: Any) -> None:
        pairs = list(_leaves(arguments))
        self.texts = [text for _, text in pairs]
        self.commands = [text for key, text in pairs if key.lower() in _SHELL_KEYS]
        self.database = self._reaching(name, pairs)
        self.statements = [form for text in self.database[1:] for form in _as_sql(text)]

    def _reaching(self, name: str, pairs: list[tuple[str, str]]) -> list[str]:
        if any(_DATABASE_WORD.fullmatch(word) for word in _WORDS.findall(name)):
            return [name, *self.texts]
        if any(_reaches(key, text) for key, text in pairs):
            return [name, *self.texts]
        return []


def _reaches(key: str, text: str) -> bool:
    key = key.lower()
    if _DATABASE_KEY.fullmatch(key):
        return True
    if key == "query":  # a search tool has a `query` too
        return any(_SQL_SHAPE.match(part) for form in _as_sql(text) for part in form.split(";"))
    if key not in _SHELL_KEYS:
        return False
    return any(_CLIENT.search(command) and not _READER.match(command) for command in _NEXT_COMMAND.split(text))


def _as_sql(text: str) -> list[str]:
    """The text with single spaces and no comments. `--` is a comment in SQL and an option in a shell: both readings."""
    plain = _without_block_comments(text)
    forms = [_SPACES.sub(" ", plain)]
    if "--" in plain:
        forms.append(_SPACES.sub(" ", "\n".join(line.partition("--")[0] for line in plain.split("\n"))))
    return forms


def _without_block_comments(text: str) -> str:
    parts: list[str] = []
    begin = 0
    while (start := text.find("/*", begin)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        parts.append(text[begin:start])
        begin = end + 2
    return " ".join([*parts, text[begin:]])


def _leaves(arguments: Any) -> Iterator[tuple[str, str]]:
    """(nearest key, text) of every text and key in the arguments, in order; no recursion, whatever the depth."""
    waiting: list[tuple[str, Any]] = [("", arguments)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):
            yield from ((key, str(name)) for name in value)
            waiting.extend((str(name), item) for name, item in reversed(list(value.items())))
        elif isinstance(value, list):
            waiting.extend((key, item) for item in reversed(value))
