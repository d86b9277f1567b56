"""One platform with short patience and a scripted upstream, shared by the attacks; each leaves it as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_gate import CONFIG, POLICY, UPSTREAM_KEY, Gate
from attack_kit import RawUpstream, raw_upstream

from platform_process import running


@pytest.fixture(scope="session")
def upstream() -> Iterator[RawUpstream]:
    with raw_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def session_gate(tmp_path_factory: pytest.TempPathFactory, upstream: RawUpstream) -> Iterator[Gate]:
    folder: Path = tmp_path_factory.mktemp("gate")
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    environ = {"ANTHROPIC_API_KEY": UPSTREAM_KEY}
    with running(
        folder / "data", "--upstream", upstream.url, "--config", str(config), "--policy", str(policy), environ=environ
    ) as platform:
        yield Gate(platform, upstream)


@pytest.fixture
def gate(session_gate: Gate) -> Iterator[Gate]:
    """Whatever a test did: afterwards no call is under way, the platform serves, and it logged no defect."""
    session_gate.upstream.reset()
    logged = len(session_gate.log())
    yield session_gate
    session_gate.upstream.reset()
    session_gate.settled()
    assert session_gate.json().status == 200
    assert [
        line for line in session_gate.log()[logged:].splitlines() if '"defect"' in line or "Traceback" in line
    ] == []
