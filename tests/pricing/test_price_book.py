"""The price book: names, files of an organisation, models without a price."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, Denied
from ai_platform.domain.usage import Iteration, Usage
from ai_platform.pricing import PriceBook, PricingSettings, UnknownModel, load_price_book, total_usage
from ai_platform.pricing.book import MEMO
from ai_platform.pricing.names import canonical

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
THOUSAND = Usage(input_tokens=1000)
PRICES = "input: 1\n    output: 1\n    cache_read: 1\n    write_5m: 1\n    write_1h: 1\n"
ROW = PRICES + "    source: x\n    checked: 2026-11-22\n"


def book_with(folder: Path, text: str, *more: str, unknown: UnknownModel = UnknownModel.MAXIMUM) -> PriceBook:
    paths: list[Path] = []
    for index, content in enumerate((text, *more)):
        path = folder / f"contract{index or ''}.yaml"
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return load_price_book(PricingSettings(files=tuple(paths), unknown_model=unknown))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-opus-5-5", ("claude-opus-5-5", "")),
        ("claude-opus-5-5[1m]", ("claude-opus-5-5", "")),
        ("claude-opus-4-5-20251101[1m]", ("claude-opus-4-5", "")),
        ("Claude-Sonnet-4-5-Latest", ("claude-sonnet-4-5", "")),
        ("claude-haiku-4-5@20251001", ("claude-haiku-4-5", "")),
        ("claude-opus-4-6@default", ("claude-opus-4-6", "")),
        ("anthropic.claude-opus-5-5", ("claude-opus-5-5", "")),
        ("global.anthropic.claude-opus-4-6-v1", ("claude-opus-4-6", "global")),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", ("claude-sonnet-4-5", "us-gov")),
        ("apac.anthropic.claude-sonnet-4-20250514-v1:0", ("claude-sonnet-4", "apac")),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
            ("claude-haiku-4-5", ""),
        ),
        ("bedrock/jp.anthropic.claude-sonnet-4-5-20250929-v1:0", ("claude-sonnet-4-5", "jp")),
        ("publishers/anthropic/models/claude-opus-5", ("claude-opus-5", "")),
        ("anthropic/claude-opus-4.8", ("claude-opus-4-8", "")),
        ("claude-3-5-haiku-20241022", ("claude-3-5-haiku", "")),
        ("", ("", "")),
    ],
)
def test_every_platforms_name_of_a_model_leads_to_one_id(name: str, expected: tuple[str, str]) -> None:
    assert tuple(canonical(name)) == expected


@given(st.text(max_size=400))
def test_no_name_breaks_the_book_or_is_free(name: str) -> None:
    price = load_price_book().price(name, THOUSAND, at=NOW)
    assert price.micros > 0


@pytest.mark.requirement("SP-1")
def test_an_unknown_model_is_flagged_counted_and_never_free() -> None:
    book = load_price_book()
    price = book.price("claude-opus-9", THOUSAND, at=NOW)
    assert price.unknown
    assert price.micros == 5000
    assert price.rows == ("maximum:opus",)
    assert book.unknown_priced == 1
    book.price("claude-opus-5-5", THOUSAND, at=NOW)
    assert book.unknown_priced == 1


@pytest.mark.requirement("SP-1")
def test_a_gateway_may_refuse_what_it_cannot_price() -> None:
    book = load_price_book(PricingSettings(unknown_model=UnknownModel.REFUSE))
    book.check("claude-opus-5-5", at=NOW)
    with pytest.raises(Denied, match=r"no price on anthropic.*add a row") as caught:
        book.check("claude-opus-9", at=NOW)
    assert caught.value.reason is Refusal.MODEL_UNKNOWN
    assert book.price("claude-opus-9", THOUSAND, at=NOW).micros > 0


def test_the_default_does_not_refuse_an_unknown_model() -> None:
    load_price_book().check("claude-opus-9", at=NOW)


def test_a_model_that_is_gone_from_a_platform_has_no_price_there() -> None:
    book = load_price_book()
    assert book.knows("claude-opus-4-1", platform="bedrock", at=NOW)
    assert not book.knows("claude-opus-4-1", at=NOW)


def test_a_contract_row_wins_over_the_list_from_its_day_on(tmp_path: Path) -> None:
    book = book_with(tmp_path, f"rows:\n  - models: [claude-opus-5-5]\n    effective_from: 2026-11-22\n    {ROW}")
    before = datetime(2026, 11, 21, 23, 59, tzinfo=UTC).timestamp()
    assert book.price("claude-opus-5-5", THOUSAND, at=before).micros == 4000
    price = book.price("claude-opus-5-5", THOUSAND, at=NOW)
    assert (price.micros, price.rows) == (1000, ("contract:claude-opus-5-5@2026-11-22",))


def test_a_contract_that_ended_gives_way_to_the_list(tmp_path: Path) -> None:
    book = book_with(tmp_path, f"rows:\n  - models: [claude-opus-5-5]\n    until: 2026-11-22\n    {ROW}")
    assert book.price("claude-opus-5-5", THOUSAND, at=NOW - 86_400).micros == 1000
    assert book.price("claude-opus-5-5", THOUSAND, at=NOW).micros == 4000


def test_the_last_file_wins_and_an_exact_id_beats_a_glob(tmp_path: Path) -> None:
    glob = f"rows:\n  - models: ['claude-*']\n    {ROW}".replace("input: 1", "input: 7")
    exact = f"rows:\n  - models: ['claude-*']\n    {ROW}  - models: [claude-opus-5-5]\n    {ROW}".replace(
        "input: 1", "input: 3", 1
    )
    book = book_with(tmp_path, glob, exact)
    assert book.price("claude-opus-5-5", THOUSAND, at=NOW).micros == 1000
    assert book.price("claude-sonnet-5", THOUSAND, at=NOW).micros == 3000


def test_a_row_for_a_region_beats_a_row_for_all(tmp_path: Path) -> None:
    rows = f"rows:\n  - models: [x]\n    {ROW}  - models: [x]\n    regions: [eu-*]\n    {ROW}".replace(
        "input: 1", "input: 9", 1
    )
    book = book_with(tmp_path, rows)
    assert book.price("x", THOUSAND, region="eu-west-1", at=NOW).micros == 1000
    assert book.price("x", THOUSAND, region="us-east-1", at=NOW).micros == 9000
    assert book.price("x", THOUSAND, at=NOW).micros == 9000


def test_a_discount_stacks_on_every_token_price(tmp_path: Path) -> None:
    discount = (
        "modifiers:\n  - name: framework contract\n    group: contract\n    platforms: [bedrock]\n    times: 0.925\n"
        "    source: contract 17\n    checked: 2026-11-22\n"
    )
    book = book_with(tmp_path, discount)
    price = book.price("claude-opus-5-5", THOUSAND, platform="bedrock", region="us-east-1", at=NOW)
    assert price.micros == 4070  # 1000 * 4 * 1.1 * 0.925
    assert price.rows[1:] == ("x0.925 framework contract", "x1.1 regional endpoint")
    assert book.price("claude-opus-5-5", THOUSAND, at=NOW).micros == 4000


def test_an_organisations_modifier_replaces_the_lists_one_of_its_group(tmp_path: Path) -> None:
    batch = (
        "modifiers:\n  - name: our batch\n    group: tier\n    tiers: [batch]\n    times: 0.4\n    source: x\n"
        "    checked: 2026-11-22\n"
    )
    book = book_with(tmp_path, batch)
    assert book.price("claude-opus-5-5", Usage(input_tokens=1000, tier="batch"), at=NOW).micros == 1600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"rows:\n  - models: [x]\n    {ROW}".replace("input: 1", "input: -1"),
            r"contract\.yaml:3:12: 'input' must be from 0",
        ),
        (f"rows:\n  - models: [x]\n    {ROW}".replace("input: 1", "input: 0.1234567"), "more than 6 decimals"),
        (f"rows:\n  - models: [x]\n    inptu: 2\n    {ROW}", "Did you mean 'input'"),
        (f"rows:\n  - models: [x]\n    effective_from: 2026-02-02\n    until: 2026-02-02\n    {ROW}", "later day"),
        (f"rows:\n  - models: [x]\n    {ROW}".replace("    source: x\n", ""), "needs the key 'source'"),
        (
            "modifiers:\n  - {name: a, group: a, times: 1.23456, source: x, checked: 2026-11-22}\n",
            "more than 4 decimals",
        ),
        (
            "modifiers:\n"
            + "".join(
                f"  - {{name: a, group: {group}, times: 1.2345, source: x, checked: 2026-11-22}}\n" for group in "ab"
            ),
            "have 11 decimals together",
        ),
        ("rows: 7\n", "must be a list"),
    ],
)
def test_a_wrong_price_file_is_refused_with_place_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        book_with(tmp_path, text)


def test_a_missing_price_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_price_book(PricingSettings(files=(tmp_path / "none.yaml",)))


def test_every_built_in_row_names_its_source_and_day() -> None:
    rows = load_price_book().rows()
    assert len(rows) >= 20
    assert all(row.source.startswith("https://") and row.checked.year >= 2026 for _, row in rows)


def test_rows_of_a_day_leave_out_what_is_not_in_effect() -> None:
    book = load_price_book()
    sonnet = [ref for ref, _ in book.rows(NOW) if ref.startswith("claude-sonnet-5-5@")]
    assert sonnet == ["claude-sonnet-5-5@2026-10-07"]


def test_the_version_changes_with_the_prices(tmp_path: Path) -> None:
    plain = load_price_book()
    assert plain.version == load_price_book().version
    assert plain.version != book_with(tmp_path, f"rows:\n  - models: [x]\n    {ROW}").version


def test_names_that_callers_make_up_do_not_grow_the_book() -> None:
    book = load_price_book()
    for number in range(MEMO + 10):
        book.price(f"made-up-{number}", Usage(), at=NOW)
    assert len(book._quotes) <= MEMO


def test_the_total_of_a_call_counts_every_pass_once() -> None:
    extra = Usage(input_tokens=180_000, output_tokens=3500, cache_write_1h_tokens=2)
    usage = Usage(input_tokens=23_000, output_tokens=1000, iterations=(Iteration(kind="compaction", usage=extra),))
    total = total_usage(usage)
    assert (total.input_tokens, total.output_tokens, total.cache_write_1h_tokens) == (203_000, 4500, 2)
    assert total.iterations == ()


tokens = st.integers(0, 2_000_000)


@given(tokens, tokens, tokens, tokens, tokens)
def test_more_tokens_never_cost_less(one: int, two: int, three: int, four: int, five: int) -> None:
    book = load_price_book()
    usage = Usage(
        input_tokens=one,
        output_tokens=two,
        cache_read_tokens=three,
        cache_write_5m_tokens=four,
        cache_write_1h_tokens=five,
    )
    more = Usage(
        input_tokens=one + 1,
        output_tokens=two + 1,
        cache_read_tokens=three + 1,
        cache_write_5m_tokens=four + 1,
        cache_write_1h_tokens=five + 1,
    )
    for model in ("claude-haiku-5-5", "claude-opus-5-5"):
        assert book.price(model, usage, at=NOW).micros <= book.price(model, more, at=NOW).micros
