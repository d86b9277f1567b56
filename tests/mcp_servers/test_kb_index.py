"""What the index holds after folders changed, what queries find, and that no query or file name breaks either store."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.knowledge_base.entry import Index
from ai_platform.mcp_servers.knowledge_base.extract import extract
from ai_platform.mcp_servers.knowledge_base.folders import Report, differences, named
from ai_platform.mcp_servers.knowledge_base.keeper import Keeper
from ai_platform.mcp_servers.knowledge_base.postgres import open_postgres
from ai_platform.mcp_servers.knowledge_base.query import phrases, quoted
from ai_platform.mcp_servers.knowledge_base.sqlite import SqliteIndex
from ai_platform.testing.postgres import TestPostgres

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MC-5")]


@pytest.fixture(params=["sqlite", "postgres"])
async def index(request: pytest.FixtureRequest, tmp_path: Path, postgres_server: TestPostgres) -> AsyncIterator[Index]:
    if request.param == "sqlite":
        made: Index = SqliteIndex(tmp_path / "index" / "kb.sqlite")
        yield made
        await made.close()
    else:
        async with postgres_server.fresh_database("template0") as database:
            made = await open_postgres(database.owner_dsn, "default", "english")
            yield made
            await made.close()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


async def refreshed(index: Index, docs: Path, most_bytes: int = 1 << 20) -> Report:
    async def changed() -> None:
        return None

    return await Keeper(index, named([str(docs)]), most_bytes=most_bytes, every=60, changed=changed).refresh()


async def found(index: Index, query: str) -> list[str]:
    return [hit.id for hit in await index.search(phrases(query), 10)]


async def test_only_what_changed_is_read_again_and_what_is_gone_is_forgotten(index: Index, docs: Path):
    for name in ("a", "b", "c"):
        path = docs / f"{name}.md"
        path.write_text(f"# {name}\n\ncommon word{name}")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert (await refreshed(index, docs)).written == 3

    again = await refreshed(index, docs)  # written moments ago: read once more, found unchanged
    assert (again.written, again.gone) == (0, 0)

    (docs / "a.md").write_text("# a\n\nrewritten")
    (docs / "b.md").unlink()
    report = await refreshed(index, docs)
    assert (report.written, report.gone) == (1, 1)
    assert await found(index, "common") == ["docs/c.md"]
    assert await found(index, "worda") == []
    assert await found(index, "rewritten") == ["docs/a.md"]
    assert await index.count() == 2


async def test_the_planner_knows_the_documents_once_they_are_indexed(docs: Path, postgres_server: TestPostgres):
    """Before, it read every one of them for each search, for as long as autovacuum had not come by."""
    async with postgres_server.fresh_database("template0") as database:
        made = await open_postgres(database.owner_dsn, "default", "english")
        for number in range(30):
            (docs / f"{number}.md").write_text(f"word{number}")
        await refreshed(made, docs)
        connection = await asyncpg.connect(database.owner_dsn)
        known = "SELECT reltuples FROM pg_class WHERE oid = 'ai_platform_kb.documents'::regclass"
        assert await connection.fetchval(known) == 30
        for number in range(30, 32):
            (docs / f"{number}.md").write_text(f"word{number}")
        await refreshed(made, docs)
        assert await connection.fetchval(known) == 30, "a few changes are not worth it"
        await connection.close()
        await made.close()


async def test_a_change_of_the_same_size_and_date_is_seen(index: Index, docs: Path):
    path = docs / "a.txt"
    path.write_text("zebra")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    await refreshed(index, docs)
    path.write_text("tiger")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    await refreshed(index, docs)
    assert await found(index, "tiger") == ["docs/a.txt"]
    assert await found(index, "zebra") == []


async def test_a_folder_that_cannot_be_reached_keeps_its_documents(index: Index, docs: Path):
    (docs / "a.txt").write_text("kept")
    await refreshed(index, docs)
    folders = named([str(docs)])
    shutil.rmtree(docs)
    left = list(differences(folders, await index.stamps(), 1 << 20, Report()))
    assert [bool(changes) for changes in left] == [False]


async def test_the_title_weighs_more_and_every_word_more_than_any(index: Index, docs: Path):
    (docs / "body.md").write_text("# Notes\n\nvacation " + "and other things " * 40)
    (docs / "title.md").write_text("# Vacation rules\n\n" + "and other things " * 40)
    (docs / "both.md").write_text("# Notes\n\nvacation for managers")
    await refreshed(index, docs)
    assert (await found(index, "vacation"))[0] == "docs/title.md"
    assert await found(index, "vacation managers") == ["docs/both.md"]
    assert set(await found(index, "vacation unicorns")) == {"docs/body.md", "docs/title.md", "docs/both.md"}
    assert await found(index, '"managers vacation"') == []
    assert await found(index, '"for managers"') == ["docs/both.md"]
    snippet = (await index.search(phrases("managers"), 1))[0].snippet
    assert "**managers**" in snippet


async def test_a_link_leads_nowhere_and_large_or_binary_files_are_left_out(index: Index, docs: Path, tmp_path: Path):
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "secret.txt").write_text("treasure")
    (docs / "link.txt").symlink_to(secret / "secret.txt")
    (docs / "folder").symlink_to(secret, target_is_directory=True)
    (docs / "large.txt").write_text("treasure " * 200)
    (docs / "binary.txt").write_bytes(b"treasure\0")
    (docs / "program.exe").write_text("treasure")
    (docs / ".hidden.txt").write_text("treasure")
    os.mkfifo(docs / "pipe.txt")
    report = await refreshed(index, docs, most_bytes=1000)
    assert report.skipped == 4
    assert await index.count() == 0


async def test_one_file_that_becomes_a_link_is_forgotten(index: Index, docs: Path, tmp_path: Path):
    (docs / "a.txt").write_text("mine")
    await refreshed(index, docs)
    (docs / "a.txt").unlink()
    (docs / "a.txt").symlink_to("/etc/passwd")
    await refreshed(index, docs)
    assert await index.count() == 0


WILD = st.text(max_size=60) | st.text(alphabet="\"*()^:+-{}[]~<>|&!\\'% ANDORNOT\0ab_", max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=WILD)
async def test_no_query_is_an_error(index: Index, query: str):
    assert await index.search(phrases(query), 5) == []


@given(query=WILD)
def test_what_reaches_the_engine_is_one_quoted_string_per_phrase(query: str):
    for words in phrases(query):
        assert all(word.isalnum() or not word.isascii() for word in words)
        assert quoted(words).count('"') == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(identifier=st.text(max_size=80) | st.from_regex(r"(docs/)?(\.\./){1,4}etc/passwd"))
async def test_an_identifier_is_only_ever_a_key(index: Index, identifier: str):
    assert await index.get(identifier.encode(errors="replace").decode()) is None


HOSTILE = [
    "<!--",
    "<!",
    "<",
    "<a ",
    "<a b='",
    "</",
    "<![CDATA[",
    "&",
    "&#1",
    "&#x1",
    "<script>",
    "<a '>' ",
    "<title>",
    "<p>",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_page_that_is_made_to_take_long_does_not(piece: str):
    """The standard library's parser takes minutes for the first of these."""
    content = extract("a.html", (piece * (500_000 // len(piece)) + '"').encode())
    assert content is not None


@given(st.text("<>!-/&#;'\"apstyletitle \n", max_size=80))
def test_any_page_has_its_plain_words(text: str):
    content = extract("a.html", f"<html><p>first{chr(10)}</p><!-- - -->{text}".encode())
    assert content is not None
    assert content.body.startswith("first")


def test_a_page_is_read_as_a_person_sees_it():
    page = b"""<!doctype html><title>A &amp; B</title><style>p > x {}</style><script>if (a<b) '</p>'</script>
        <h1 title='x > y'>Head</h1><p>one<br>two &lt;b&gt; &#8364; 3 < 4 <!-- c > --> x</p>
        <svg><text>no</text></svg>end"""
    content = extract("a.html", page)
    assert content is not None
    assert (content.title, content.body) == ("A & B", "Head\none\ntwo <b> € 3 < 4 x\nend")


async def test_a_bottomless_folder_does_not_keep_others_from_being_read(tmp_path: Path, docs: Path):
    made = SqliteIndex(tmp_path / "kb.sqlite")
    (docs / "zebra.md").write_text("striped")
    here = os.open(docs, os.O_RDONLY)
    for _ in range(1200):  # deeper than Python's stack, and than most programs may open files
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        await refreshed(made, docs)
        assert await found(made, "striped") == ["docs/zebra.md"]
    finally:
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", str(docs / "d")], check=True)
        await made.close()


@given(name=st.sampled_from(["a.md", "a.html", "a.json", "a.rst", "a.txt"]), data=st.binary(max_size=300))
def test_any_bytes_are_a_document_or_none(name: str, data: bytes):
    content = extract(name, data)
    assert content is None or (content.title and "\0" not in content.body)


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.md", "---\nowner: x\ntitle: 'From the front'\n---\n# Heading", "From the front"),
        ("a.md", "text\n\n## Sub *heading* ##\n", "Sub *heading*"),
        ("a.md", "Underlined\n==========\n", "Underlined"),
        ("a.adoc", "= Asciidoc\n", "Asciidoc"),
        ("notes.txt", "# no heading here", "notes"),
        ("page.htm", "<TITLE> A  page </TITLE>", "A page"),
        ("bare.html", "<p>x", "bare"),
    ],
)
def test_titles(name: str, text: str, title: str):
    content = extract(name, text.encode())
    assert content is not None
    assert content.title == title


def test_a_damaged_index_is_told(tmp_path: Path):
    (tmp_path / "kb.sqlite").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(ConfigError, match="Choose another --index"):
        SqliteIndex(tmp_path / "kb.sqlite")


async def test_one_process_keeps_an_index_at_a_time(tmp_path: Path, docs: Path):
    (docs / "a.txt").write_text("word")
    first, second = SqliteIndex(tmp_path / "kb.sqlite"), SqliteIndex(tmp_path / "kb.sqlite")
    assert (await refreshed(first, docs)).written == 1
    assert await second.claim() is False
    assert await found(second, "word") == ["docs/a.txt"]
    await first.close()
    assert await second.claim() is True
    await second.close()


async def test_closing_waits_for_a_write_whose_caller_gave_up(tmp_path: Path, docs: Path):
    for number in range(300):
        (docs / f"{number}.txt").write_text(f"word {number} " * 500)
    index = SqliteIndex(tmp_path / "kb.sqlite")
    (changes, *_) = differences(named([str(docs)]), {}, 1 << 20, Report())
    writing = asyncio.create_task(index.apply(changes))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    await index.close()
    with pytest.raises(asyncio.CancelledError):
        await writing
    again = SqliteIndex(tmp_path / "kb.sqlite")
    assert await again.count() in {0, 300}, "all of a batch or nothing"
    await again.close()
