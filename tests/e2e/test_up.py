"""Starting, stopping and starting again, as a person does it."""

import json
import socket
import sys
from pathlib import Path

import pytest

from platform_process import ask, children_of, run_command, running, until, wait_gone

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.requirement("OP-1")
def test_a_first_start_makes_an_admin_key_and_shows_the_two_lines_for_claude_code(data: Path) -> None:
    with running(data) as platform:
        assert f"export ANTHROPIC_BASE_URL={platform.url}" in platform.output
        assert platform.admin_key in platform.output
        assert platform.admin_key.startswith("aip_")
        assert (data / "admin.key").stat().st_mode & 0o777 == 0o600
        assert platform.run("doctor").count("problem") == 0
        assert ask(platform, "hello").status_code == 200


@pytest.mark.requirement("OP-1", "ID-3", "SP-2", "AU-1")
def test_a_restart_keeps_keys_ledger_and_log(data: Path) -> None:
    with running(data) as platform:
        key = platform.key("dev", "--team", "blue")
        assert ask(platform, "hello", key=key).status_code == 200
        before = platform.json("usage", "--by", "team")["rows"]
        admin = platform.admin_key
    with running(data) as platform:
        assert platform.admin_key == admin
        assert admin not in platform.output
        assert platform.json("usage", "--by", "team")["rows"] == before
        assert ask(platform, "hello again", key=key).status_code == 200
        assert platform.json("audit", "verify")["intact"] is True


@linux
@pytest.mark.requirement("OP-1")
def test_ctrl_c_leaves_nothing_running(data: Path) -> None:
    with running(data) as platform:
        children = [pid for pid in children_of(str(data)) if pid != platform.pid]
        assert children
        assert platform.stop() == 0
    for pid in children:
        wait_gone(pid)
    assert not (data / "run.json").exists()


@linux
@pytest.mark.requirement("OP-1")
def test_kill_9_leaves_nothing_running(data: Path) -> None:
    with running(data) as platform:
        assert children_of(str(data))
        platform.kill()
        until(lambda: not children_of(str(data)), within=20)


@pytest.mark.requirement("OP-1")
def test_a_second_platform_on_the_same_folder_is_refused_with_a_reason(data: Path) -> None:
    with running(data):
        run_command("up", "--data", str(data), "--port", "0", code=1)


@pytest.mark.requirement("OP-1")
def test_a_taken_port_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run_command("up", "--data", str(data), "--port", str(taken.getsockname()[1]), code=1)


def test_a_mistyped_configuration_is_shown_with_line_and_suggestion(tmp_path: Path) -> None:
    config = tmp_path / "ai-platform.yaml"
    config.write_text("server:\n  hots: 127.0.0.1\n")
    report = run_command("doctor", "--config", str(config), "--data", str(tmp_path / "data"), "--json", code=1)
    found = {one["check"]: one for one in json.loads(report)}["configuration"]
    assert "2:3" in found["remedy"]
    assert "host" in found["remedy"]


def test_commands_without_a_platform_say_how_to_start_one(tmp_path: Path) -> None:
    run_command("keys", "list", "--data", str(tmp_path), code=1)
