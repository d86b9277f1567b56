import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sso_site import Site, site

sys.path.append(str(Path(__file__).parents[1] / "upstream"))  # its certificate authority serves this suite too

MANAGED = '{"permissions": {"deny": ["WebFetch"]}, "env": {"B": "2", "A": "1"}, "cleanupPeriodDays": 20}'

MORE = """
budget:
  budgets:
    - {scope: user, period: month, name: "dee@example.com", usd: 0.000001}
    - {scope: user, period: month, name: "ben@example.com", usd: 100}
"""


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One platform with sign-in, shared by tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "managed.json").write_text(MANAGED)
    policy = folder / "policy.yaml"
    policy.write_text('version: "1"\nmodels:\n  roles:\n    developer: {allow: ["claude-haiku-*"]}\n')
    lines = f"  managed:\n    - {{groups: [engineering], file: {folder / 'managed.json'}}}"
    with site(folder / "site", more=MORE, sso=lines, options=("--policy", str(policy))) as found:
        yield found
