"""docs/policy.md shows what loads, and says of each key what `policy check` says."""

import re
from pathlib import Path

import pytest

from ai_platform.documents import load
from ai_platform.policy import Policy, Roles
from ai_platform.policy.cases import CasesFile
from ai_platform.policy.notices import NOT_ENFORCED

pytestmark = pytest.mark.requirement("PO-1")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")


EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_of_the_page_loads(number: int):
    assert len(EXAMPLES) >= 5
    text = EXAMPLES[number]
    if "\ncases:" in text:
        assert load(text, CasesFile).cases
        return
    assert Roles.load(text) if text.startswith("roles:") else Policy.load(text)


def test_every_key_of_the_file_is_on_the_page():
    keys = re.findall(r"[\s{,](?!//)([a-z_]+): ", (ROOT / "examples" / "policies" / "enterprise.yaml").read_text())
    assert keys
    assert [key for key in keys if f"{key}" not in PAGE] == []


def test_what_the_page_calls_not_enforced_is_what_the_check_calls_so():
    rows = re.findall(r"^\| `(\S+?)`.*\| no \|$", PAGE, re.MULTILINE)
    assert {row.removesuffix(".enforce").replace("NAME", "batch") for row in rows} == {
        "security.data_residency",
        "security.access_control.authentication.methods",
        "audit.retention_days",
        "teams.batch.region",
    }
    notices = Policy.load(ROOT / "examples" / "policies" / "enterprise.yaml").notices
    named = {notice.key for notice in notices if notice.status == NOT_ENFORCED}
    assert {row.removesuffix(".enforce").replace("NAME", "batch") for row in rows} <= named
