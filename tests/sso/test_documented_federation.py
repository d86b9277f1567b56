"""The examples of docs/service-accounts.md are what the platform takes."""

import re
from pathlib import Path

import pytest
import yaml

from ai_platform.config import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "service-accounts.md").read_text(encoding="utf-8")
CONFIGURATION, WORKFLOW = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.requirement("CC-8")
def test_the_configuration_loads(tmp_path: Path):
    file = tmp_path / "platform.yaml"
    file.write_text(CONFIGURATION)
    issuers = load_settings(file, data=tmp_path, environ={}).sso.federation
    assert [account.name for issuer in issuers for account in issuer.accounts] == ["ci-web", "ci-review", "batch"]


def test_the_workflow_asks_for_the_token_it_needs_and_uses_the_command():
    workflow = yaml.safe_load(WORKFLOW)
    assert workflow["permissions"]["id-token"] == "write"
    job = workflow["jobs"]["review"]
    assert job["env"]["AI_PLATFORM_URL"] == job["env"]["ANTHROPIC_BASE_URL"]
    assert "ai-platform token --federated" in job["steps"][-1]["run"]
    assert "--settings" in job["steps"][-1]["run"]
