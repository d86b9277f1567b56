"""Filters on database queries, SQL and tool arguments act on what a call would do, not on what a text mentions."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.policy import Policy

pytestmark = pytest.mark.requirement("PO-1", "PO-4")

MISSION = Policy.load("""
content_filters:
  block_patterns:
    - {pattern: "prod|production", scope: database_queries, message: "Cannot access production databases"}
    - {pattern: "DROP TABLE|DELETE FROM", scope: sql, message: "Destructive SQL not allowed"}
""")


def _refused(name: str, arguments: Any, policy: Policy = MISSION) -> str | None:
    """The rule that stopped the call, None when it may go on."""
    try:
        policy.filters.check_tool_use(name, msgspec.json.encode(arguments))
    except Denied as error:
        return error.rule
    return None


PRODUCTION = "content_filters.block_patterns[0]"
DESTRUCTIVE = "content_filters.block_patterns[1]"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Bash", {"command": "psql -h prod-db -c 'select 1'"}),
        ("Bash", {"command": "cd app && PGHOST=db.prod.internal psql -c 'select 1'"}),
        ("Bash", {"command": "echo 'select 1' | mysql --host=production"}),
        ("Bash", {"command": "python -c \"c = connect('postgresql://u@prod/x'); c.execute('select 1')\""}),
        ("Bash", {"command": "kubectl exec -it pod -- psql -d prod_users"}),
        ("mcp__prod-postgres__query", {"sql": "select 1"}),
        ("mcp__postgres__run", {"connection": "production", "statement": "select 1"}),
        ("mcp__warehouse__ask", {"database": "prod", "query": "SELECT 1"}),
        ("runSQLQuery", {"target": {"host": ["db.prod.example.com"]}}),
        ("PowerShell", {"command": "sqlcmd -S PROD -Q x"}),
    ],
)
def test_a_query_on_a_production_database_is_stopped(name: str, arguments: Any):
    assert _refused(name, arguments) == PRODUCTION


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Bash", {"command": "grep -rn production src/"}),
        ("Bash", {"command": "NODE_ENV=production npm run build"}),
        ("Bash", {"command": "git commit -m 'psql is now used in production'"}),
        ("Bash", {"command": "cat docs/psql.md | grep production"}),
        ("Bash", {"command": "pip install duckdb production-tools"}),
        ("Bash", {"command": "psql -h localhost -c 'select * from products'"}),
        ("Edit", {"file_path": "README.md", "old_string": "psql staging", "new_string": "psql production"}),
        ("Write", {"file_path": "deploy/production.sql", "content": "SELECT 1"}),
        ("WebSearch", {"query": "postgres production checklist"}),
        ("mcp__kb__search", {"query": "select a production region"}),
        ("mcp__kb__search", {"query": "create the production plan, then call me"}),
        ("mcp__postgres__query", {"sql": "select * from reproductions, products"}),
        ("Read", {"file_path": "/etc/production/psql.conf"}),
    ],
)
def test_a_mention_of_production_is_not_a_query(name: str, arguments: Any):
    assert _refused(name, arguments) is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mcp__postgres__query", {"sql": "DROP TABLE users"}),
        ("mcp__postgres__query", {"sql": "drop table users"}),
        ("mcp__postgres__query", {"sql": "DROP\n\t TABLE users"}),
        ("mcp__postgres__query", {"sql": "DROP/**/TABLE users"}),
        ("mcp__postgres__query", {"sql": "DROP /* x */ /* y */ TABLE users"}),
        ("mcp__postgres__query", {"sql": "DROP -- a comment\nTABLE users"}),
        ("mcp__postgres__query", {"sql": "select 1; -- nothing\nDELETE  FROM users"}),
        ("mcp__any__thing", {"statement": ["select 1", {"text": "delete from users"}]}),
        ("mcp__any__thing", {"query": "/* hi */ DELETE FROM users"}),
        ("mcp__any__thing", {"query": "select 1; drop table users"}),
        ("Bash", {"command": "psql --host localhost --command 'DROP  TABLE users'"}),
        ("Bash", {"command": "echo 'DROP TABLE users;' | sqlite3 app.db"}),
        ("Bash", {"command": "cat x.sql; mysql -e 'DELETE FROM users'"}),
        ("Bash", {"command": "sudo -u postgres psql <<EOF\nDROP TABLE users;\nEOF"}),
        ("mcp__ide__executeCode", {"code": "cursor.execute('DROP TABLE users')"}),
    ],
)
def test_destructive_sql_is_stopped_however_it_is_written(name: str, arguments: Any):
    assert _refused(name, arguments) == DESTRUCTIVE


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Bash", {"command": "grep -rn 'DROP TABLE' migrations/"}),
        ("Bash", {"command": "git log -S 'DELETE FROM' | head"}),
        ("Edit", {"file_path": "m.sql", "old_string": "x", "new_string": "DROP TABLE users"}),
        ("Write", {"file_path": "m.sql", "content": "DELETE FROM users"}),
        ("mcp__postgres__query", {"sql": "select 'droptable', undelete from_x"}),
        ("mcp__postgres__query", {"sql": "SELECT 1"}),
    ],
)
def test_sql_in_a_file_or_a_search_is_not_run(name: str, arguments: Any):
    assert _refused(name, arguments) is None


def test_the_strict_scope_reads_every_argument_of_every_tool():
    strict = Policy.load("content_filters: {block_patterns: [{pattern: 'DROP TABLE', scope: tool_arguments}]}")
    for name, arguments in (
        ("Edit", {"new_string": "drop table users"}),
        ("Bash", {"command": "grep 'DROP TABLE' x"}),
        ("any", [{"deep": [["DROP TABLE"]]}]),
        ("any", {"drop table": 1}),
        ("any", "DROP TABLE"),
    ):
        assert _refused(name, arguments, strict) == "content_filters.block_patterns[0]"
    assert _refused("DROP TABLE", {}, strict) is None


def test_the_refusal_says_which_tool_and_never_the_text():
    with pytest.raises(Denied) as refused:
        MISSION.filters.check_tool_use("mcp__postgres__query", b'{"sql": "DROP TABLE secret_name"}')
    assert refused.value.reason is Refusal.CONTENT_FILTER
    assert str(refused.value) == (
        "The call of the tool 'mcp__postgres__query' was stopped by the content filter"
        " 'content_filters.block_patterns[1]' (scope sql): Destructive SQL not allowed. Change the request so that it"
        " does not need this. Ask an administrator of this platform."
    )


@pytest.mark.parametrize("arguments", [b"", b"{", b"\xff", b'{"a":' * 50_000])
def test_arguments_that_cannot_be_read_are_stopped_and_counted(arguments: bytes):
    policy = Policy.load("content_filters: {block_patterns: [{pattern: x, scope: sql}]}")
    with pytest.raises(Denied, match="not readable JSON"):
        policy.filters.check_tool_use("Bash", arguments)
    assert policy.filters.unreadable == 1


def test_without_tool_filters_no_argument_is_read():
    policy = Policy.load("content_filters: {block_patterns: [{pattern: x, scope: general}]}")
    policy.filters.check_tool_use("Bash", b"not json")
    assert not policy.filters_tool_use
    assert MISSION.filters_tool_use


@given(st.text(max_size=200) | st.text(alphabet="/*- \nDROPTABLE'", max_size=200))
def test_any_text_is_judged_without_an_error(text: str):
    _refused("Bash", {"command": text})
    _refused("db", {"sql": text, "query": text})


@pytest.mark.parametrize(
    "unit",
    ["/*", "*/", "--", "psql ", "jdbc:", "a=b ", "DROP ", ".execute ", "rails ", "select ", "with a as ", ";", "$("],
)
def test_no_text_is_slow(unit: str):
    _refused("mcp__db__x", {"sql": unit * 100_000, "query": unit * 100_000})
    _refused("Bash", {"command": unit * 100_000})
