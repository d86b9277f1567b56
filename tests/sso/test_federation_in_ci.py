"""A CI job without a key: its runner's token becomes a service account's, for commands and for the real Claude Code."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from scripted_provider import ScriptedProvider, scripted
from sso_site import free_port

from claude_code import requires_claude, run_session
from platform_process import PlatformProcess, ask, clean_environ, running

pytestmark = pytest.mark.requirement("CC-8")
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
RUNNER = "/runner?api-version=2.0"

CONFIGURATION = """
sso:
  exchange_failures: 8
  federation:
    - name: github
      issuer: {issuer}
      accounts:
        - name: ci-web
          claims: {{repository: acme/web, ref: [refs/heads/main, "refs/tags/**"]}}
          roles: [developer]
          team: web
          project: web-ci
          access_seconds: 61
"""


class Job:
    """What a job sees: the runner's two variables, and a token for each time it asks."""

    def __init__(self, platform: PlatformProcess, github: ScriptedProvider, folder: Path) -> None:
        self.platform = platform
        self.github = github
        self._folder = folder
        self.environ = {
            "AI_PLATFORM_URL": platform.url,
            "ACTIONS_ID_TOKEN_REQUEST_URL": github.issuer + RUNNER,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "the-runners-own",
            "RUNNER_TEMP": str(folder),
        }

    def own_token(self, **changes: Any) -> str:
        usual = {
            "aud": self.platform.url,
            "sub": "repo:acme/web:ref:refs/heads/main",
            "jti": str(uuid.uuid4()),
            "repository": "acme/web",
            "ref": "refs/heads/main",
            "nonce": None,
        }
        return self.github.token(self.github.claims(time.time(), **(usual | changes)))

    def prepare(self, **changes: Any) -> None:
        """What the runner gives next."""
        path = f"{RUNNER}&audience={quote(self.platform.url, safe='')}"
        self.github.answers[path] = (200, {"value": self.own_token(**changes), "count": 1})

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "ai_platform", *arguments]
        environ = clean_environ() | self.environ
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def exchange(self, **form: str) -> httpx2.Response:
        return httpx2.post(f"{self.platform.url}/oauth/token", data=form, trust_env=False)

    def log(self) -> str:
        return (self.platform.data.parent / f"{self.platform.data.name}.log").read_text()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PlatformProcess, ScriptedProvider]]:
    folder = tmp_path_factory.mktemp("federated")
    with scripted() as github:
        (folder / "platform.yaml").write_text(CONFIGURATION.format(issuer=github.issuer))
        port = str(free_port())
        with running(folder / "data", "--config", str(folder / "platform.yaml"), "--port", port) as platform:
            yield platform, github


@pytest.fixture
def job(started: tuple[PlatformProcess, ScriptedProvider], tmp_path: Path) -> Job:
    return Job(*started, tmp_path)


def spent(platform: PlatformProcess) -> dict[str, int]:
    return {row["name"] or row["group"]: row["requests"] for row in platform.json("usage", "--by", "person")["rows"]}


def test_a_job_calls_without_a_key_and_touches_nobodys_budget(job: Job):
    before = spent(job.platform)
    job.prepare()
    token = job.run("token", "--federated").strip()
    assert ask(job.platform, "hello", key=token).status_code == 200
    after = spent(job.platform)
    assert {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name)} == {
        "ci-web": 1
    }
    assert "web-ci" in [row["group"] for row in job.platform.json("usage", "--by", "project")["rows"]]


def test_a_helper_that_runs_often_exchanges_once(job: Job):
    job.prepare()
    first = job.run("token", "--federated")
    asked = len(job.github.asked)
    kept = list((Path(job.environ["RUNNER_TEMP"]) / "ai-platform").glob("federated-*.json"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
    document = json.loads(kept[0].read_text())
    kept[0].write_text(json.dumps(document | {"expires_at": time.time() + 120}))
    assert job.run("token", "--federated") == first
    assert len(job.github.asked) == asked
    kept[0].write_text(json.dumps(document | {"expires_at": time.time() + 30}))
    job.prepare()
    assert job.run("token", "--federated") != first, "less than a minute is left"


def test_a_token_file_will_do_and_is_exchanged_once(job: Job, tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(job.own_token() + "\n")
    assert job.run("token", "--token-file", str(file)).startswith("eyJ")
    for kept in (tmp_path / "ai-platform").glob("*.json"):
        kept.unlink()
    assert "exchanged before" in job.run("token", "--token-file", str(file), code=1)
    assert "cannot be read" in job.run("token", "--token-file", str(tmp_path / "none"), code=1)


def test_a_job_without_the_permission_is_told_what_to_write(job: Job):
    del job.environ["ACTIONS_ID_TOKEN_REQUEST_URL"]
    assert "id-token: write" in job.run("token", "--federated", code=1)
    job.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = "http://runner.example/token"
    assert "readable on the way" in job.run("token", "--federated", code=1)
    del job.environ["AI_PLATFORM_URL"]
    assert "AI_PLATFORM_URL" in job.run("token", "--federated", code=2)


def test_both_ways_of_the_standards_are_taken_and_their_errors_are_theirs(job: Job):
    good = job.exchange(grant_type=EXCHANGE, subject_token=job.own_token(), subject_token_type=JWT, scope="x", new="y")
    assert (good.status_code, good.headers["cache-control"]) == (200, "no-store")
    assert good.json().keys() == {"access_token", "token_type", "expires_in", "issued_token_type"}
    assert (good.json()["token_type"], good.json()["expires_in"]) == ("Bearer", 61)
    bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert job.exchange(grant_type=bearer, assertion=job.own_token()).status_code == 200
    bad = job.own_token(ref="refs/pull/1/merge")
    wrong = job.exchange(grant_type=EXCHANGE, subject_token=bad, subject_token_type=JWT)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_request")
    assert "service-accounts explain" in wrong.json()["error_description"]
    assert job.exchange(grant_type=bearer, assertion=bad).json()["error"] == "invalid_grant"
    for problem in (
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"subject_token_type": JWT, "requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"subject_token_type": JWT, "actor_token": "x"},
    ):
        answer = job.exchange(grant_type=EXCHANGE, subject_token="x", **problem)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    metadata = httpx2.get(f"{job.platform.url}/.well-known/oauth-authorization-server", trust_env=False).json()
    assert {EXCHANGE, bearer} == set(metadata["grant_types_supported"])
    assert "device_authorization_endpoint" not in metadata, "there is no provider of people here"


def test_who_it_was_is_in_the_audit_log_and_no_token_anywhere(job: Job):
    text = job.own_token()
    answer = job.exchange(grant_type=EXCHANGE, subject_token=text, subject_token_type=JWT).json()
    job.exchange(grant_type=EXCHANGE, subject_token=text, subject_token_type=JWT)
    lines = job.platform.run("audit", "export", "--what", "authentication")
    events = [json.loads(line) for line in lines.splitlines()]
    issued = [one for one in events if one.get("what") == "service_token_issued"][-1]
    assert (issued["account"], issued["provider"], issued["team"]) == ("ci-web", "github", "web")
    assert issued["token_claims"] == {"repository": "acme/web", "ref": "refs/heads/main"}
    refused = [one for one in events if one.get("what") == "service_token_refused"][-1]
    assert "exchanged before" in refused["reason"]
    for secret in (text, text.split(".")[2], answer["access_token"], answer["access_token"].split(".")[2]):
        assert secret not in lines
        assert secret not in job.log()
    page = httpx2.get(f"{job.platform.url}/metrics", trust_env=False).text
    assert 'aip_sign_ins_total{result="service_token_replayed"}' in page


def test_the_commands_list_explain_disable_and_enable(job: Job, tmp_path: Path):
    key = job.platform.key("ci-web", "--service")
    assert ask(job.platform, "hello", key=key).status_code == 200
    job.prepare()
    token = job.run("token", "--federated").strip()
    listed = job.platform.json("service-accounts", "list")
    assert [(one["name"], one["issuers"], one["keys"]) for one in listed] == [("ci-web", ["github"], 1)]
    assert listed[0]["tokens"] >= 1
    assert "github, keys" in job.platform.run("service-accounts", "list")

    file = tmp_path / "claims"
    file.write_text(job.own_token(ref="refs/pull/1/merge"))
    told = job.platform.run("service-accounts", "explain", str(file))
    assert "ref" in told
    assert "It becomes nothing" in told
    file.write_text('{"repository": "acme/web", "ref": "refs/tags/v1"}')
    assert "It becomes ci-web" in job.platform.run("service-accounts", "explain", str(file))
    file.write_text("nonsense")
    job.platform.run("service-accounts", "explain", str(file), code=2)

    done = job.platform.json("service-accounts", "disable", "ci-web")
    assert done["tokens_ended"] >= 1
    assert done["keys_revoked"] == 1
    assert [ask(job.platform, "hello", key=one).status_code for one in (token, key)] == [401, 401]
    for kept in (tmp_path / "ai-platform").glob("*.json"):
        kept.unlink()
    job.prepare()
    assert "disabled" in job.run("token", "--federated", code=1)
    assert "disabled" in job.platform.run("service-accounts", "list")
    job.platform.run("service-accounts", "enable", "ci-web")
    assert job.run("token", "--federated").startswith("eyJ")
    assert "no service account 'nobody'" in _error(job, "service-accounts", "disable", "nobody")


def _error(job: Job, *arguments: str) -> str:
    environ = clean_environ() | {"AI_PLATFORM_DATA": str(job.platform.data)}
    command = [sys.executable, "-m", "ai_platform", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode == 1
    return done.stderr


@requires_claude
@pytest.mark.anyio
async def test_the_real_claude_code_works_in_a_job_with_the_command_as_its_helper(job: Job, tmp_path: Path):
    job.prepare()
    helper = tmp_path / "settings.json"
    source = Path(__file__).parents[2] / "src"
    helper.write_text(json.dumps({"apiKeyHelper": f"{sys.executable} -m ai_platform token --federated"}))
    session = await run_session(
        job.platform.url,
        token="unused",
        auth="helper",
        prompt="Say hello [[scenario:text]]",
        arguments=("--settings", str(helper)),
        environment=job.environ | {"PYTHONPATH": str(source)},
    )
    assert session.exit_code == 0, session.stderr
    assert not session.is_error
    assert spent(job.platform).keys() == {"ci-web"}


def test_an_address_that_guesses_is_not_looked_at_for_a_while(tmp_path: Path):
    with scripted() as github:
        file = tmp_path / "platform.yaml"
        file.write_text(CONFIGURATION.format(issuer=github.issuer))
        with running(tmp_path / "data", "--config", str(file)) as platform:
            job = Job(platform, github, tmp_path)
            statuses = [
                job.exchange(grant_type=EXCHANGE, subject_token="x.y.z", subject_token_type=JWT).status_code
                for _ in range(9)
            ]
            assert statuses == [400] * 8 + [429]
            last = job.exchange(grant_type=EXCHANGE, subject_token=job.own_token(), subject_token_type=JWT)
            assert (last.status_code, last.json()["error"]) == (429, "slow_down")
            assert int(last.headers["retry-after"]) > 0
