"""A mistake in a file is answered with its line, its column and what was probably meant."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from ai_platform.documents import DocumentError, load, read, suggest
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.finding import RuleAction

pytestmark = pytest.mark.requirement("PO-1")


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = True
    block_on_match: bool = True
    patterns: tuple[str, ...] = ()
    hours: Annotated[int, msgspec.Meta(ge=1, le=24)] | None = None


class Upstream(msgspec.Struct, tag_field="kind", tag="cloud"):
    region: str


class Folder(msgspec.Struct, tag_field="kind", tag="folder"):
    path: Path


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    version: str = ""
    detection: Detection = Detection()
    actions: tuple[RuleAction, ...] = ()
    places: dict[str, Upstream | Folder] = {}
    mode: Literal["strict", "relaxed"] = "strict"
    owner: dict[str, str] = {}


def _fail(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load(text, Sheet, name="sheet.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "where", "says", "suggestion"),
    [
        ("detection:\n  block_on_mach: true\n", "2:3", "Unknown key 'block_on_mach' in 'detection'", "block_on_match"),
        ("version: '1'\ndetecton: {}\n", "2:1", "Unknown key 'detecton' in the file", "detection"),
        ("detection: {block-on-match: true}", "1:13", "Unknown key", "block_on_match"),
        ("detection:\n  zzzzzzzzz: 1\n", "2:3", "Known keys: 'enabled', 'block_on_match'", None),
        ("detection:\n  enabled: treu\n", "2:12", "must be true or false, not 'treu'", "true"),
        ("detection:\n  enabled: 1\n", "2:12", "must be true or false, not '1'", None),
        ("detection:\n  hours: ten\n", "2:10", "must be a whole number from 1 up to 24, not 'ten'", None),
        ("detection:\n  hours: 25\n", "2:10", "must be a whole number from 1 up to 24, not '25'", None),
        ("detection:\n  hours: '3'\n", "2:10", "not the text '3'", None),
        ("detection:\n  patterns: ssn\n", "2:13", "must be a list (each entry a text), not 'ssn'", None),
        ("detection:\n  patterns:\n    - ssn\n    - [a]\n", "4:7", "'detection.patterns[1]' must be a text", None),
        ("detection: true\n", "1:12", "must be a section (key: value lines), not 'true'", None),
        ("actions:\n- action: blok\n", "2:11", "must be 'block', 'redact'", "block"),
        ("actions:\n- rule: x\n", "2:3", "'actions[0]' needs the key 'action'", None),
        ("mode: stict\n", "1:7", "must be 'relaxed' or 'strict', not 'stict'", "strict"),
        ("places: {a: {kind: clowd, region: eu}}", "1:20", "'places.a.kind' must be 'cloud' or 'folder'", "cloud"),
        ("places: {a: {region: eu}}", "1:13", "needs the key 'kind'", None),
        ("places:\n  a:\n    kind: cloud\n", "3:5", "needs the key 'region'", None),
        ("version: a\nversion: b\n", "2:1", "already set in line 1", None),
        ("detection:\n\tenabled: true\n", "2:1", "indent with spaces only", None),
        ("detection:\n  enabled: true\n hours: 1\n", "3:2", "indentation does not fit", None),
        ("detection: {enabled: true\nversion: 1\n", "2:8", "The '[' or '{' of line 1, column 12 is not closed", None),
        ("version: 'abc\n\n", "3:1", "The quote opened in line 1 is not closed", None),
        ('version: "\\q"\n', "1:11", "use single quotes", None),
        ("version: @home\n", "1:10", "cannot begin with '@'", None),
        ("version: a: b\n", "1:11", "quote a text that holds ': '", None),
        ("[a, b]: 1\n", "1:1", "A key must be a plain word", None),
        ("version: a\n---\nversion: b\n", "2:1", "A second document", None),
        ("owner: &x {a: b}\nplaces: {<<: *x}\n", "2:10", "Merge keys", None),
        ("version: !!python/name:os.system x\n", "1:10", "Tags ('!...') are not supported", None),
        ("owner: *nobody\n", "1:8", "names no value above it", None),
        ("owner: &me [*me]\n", "1:13", "names no value above it", None),
        ("version: \x07\n", "1:10", "YAML does not allow", None),
        ("version: \ud800\n", "1:10", "not Unicode", None),
    ],
)
def test_each_mistake_is_placed_and_explained(text: str, where: str, says: str, suggestion: str | None):
    error = _fail(text)
    assert error.where == f"sheet.yaml:{where}"
    assert str(error).startswith(f"sheet.yaml:{where}: ")
    assert says in str(error)
    assert error.suggestion == suggestion
    if suggestion:
        assert f"Did you mean '{suggestion}'?" in str(error)


def test_every_problem_of_a_file_is_reported_at_once_in_the_order_of_the_text():
    error = _fail("mode: x\ndetection:\n  enabled: maybe\n  oops: 1\nversionn: 2\n")
    assert [problem.position for problem in error.problems] == [(1, 7), (3, 12), (4, 3), (5, 1)]
    assert "(3 more problems in this file.)" in str(error)


def test_the_excerpt_points_at_the_column_also_in_a_long_line():
    error = _fail("detection: {" + "enabled: true, " + " " * 200 + "oops: 1}")
    line, caret = error.excerpt.split("\n")
    assert line[len(caret) - 1 :].startswith("oops")
    assert len(line) <= 120


def test_a_word_is_read_as_what_its_key_wants_and_not_as_what_yaml_guesses():
    sheet = load("version: 1.10\nowner: {country: NO, since: 2026-11-22, n: 010, on: off}", Sheet)
    assert sheet.version == "1.10"
    assert sheet.owner == {"country": "NO", "since": "2026-11-22", "n": "010", "on": "off"}


def test_an_empty_file_and_an_empty_section_are_the_defaults():
    assert load("", Sheet) == load("# nothing\n", Sheet) == load("detection:\n", Sheet) == Sheet()


def test_json_is_read_too():
    assert load('{"detection": {"enabled": false, "patterns": ["ssn"]}}', Sheet).detection.patterns == ("ssn",)


def test_a_meaning_that_is_wrong_finds_its_place_again():
    text = "detection:\n  patterns:\n    - ssn\n    - sn\n"
    document = read(text, Sheet, name="p.yaml")
    error = document.error("There is no detector 'sn'.", "detection", "patterns", 1, suggestion="ssn")
    assert str(error) == "p.yaml:4:7: There is no detector 'sn'. Did you mean 'ssn'?"
    assert error.excerpt == "    - sn\n      ^"
    assert document.where("detection", "patterns", key=True) == "p.yaml:2:3"
    assert document.where("detection", "enabled") == "p.yaml:2:3"
    assert document.has("detection", "patterns", 0)
    assert not document.has("detection", "enabled")
    assert not document.has("detection", "patterns", 7)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"missing\.yaml: The file cannot be read: No such file"):
        load(tmp_path / "missing.yaml", Sheet)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, Sheet)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"version: a\nmode: stri\xe9t\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2:11: The file is not UTF-8"):
        load(latin, Sheet)
    marked = tmp_path / "bom.yaml"
    marked.write_bytes(b"\xef\xbb\xbfversion: '2'\n")
    assert load(marked, Sheet).version == "2"


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("credt_card", ("credit-card", "CREDIT_CARD", "credit_card"), "credit_card"),
        ("Credt-card", ("credit-card", "CREDIT_CARD"), "credit-card"),
        ("CREDT_CARD", ("credit-card", "CREDIT_CARD"), "CREDIT_CARD"),
        ("xyz", ("credit-card",), None),
        ("", ("a",), None),
        ("a" * 10_000, ("a",), None),
    ],
)
def test_of_names_that_differ_in_spelling_only_the_nearest_is_suggested(
    word: str, known: tuple[str, ...], meant: str | None
):
    assert suggest(word, known) == meant
