"""The policy in force: found, replaced whole, and never lost to a bad file."""

import asyncio
import os
from pathlib import Path

import pytest

from ai_platform.documents import DocumentError
from ai_platform.domain.errors import ConfigError
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.policy.store import PolicyChange
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-1")]


class Place:
    """A data folder, a working directory, and what was reported."""

    def __init__(self, root: Path, clock: FakeClock) -> None:
        self.data = root / "data"
        self.folder = root / "work"
        self.clock = clock
        self.changes: list[PolicyChange] = []
        self.in_data = self.data / "policies" / "enterprise.yaml"
        self.in_folder = self.folder / ".claude" / "policies" / "enterprise.yaml"
        for path in (self.in_data, self.in_folder):
            path.parent.mkdir(parents=True)

    def store(self, file: Path | None = None) -> PolicyStore:
        return PolicyStore(
            PolicySettings(file=file, poll_seconds=0.001),
            self.data,
            clock=self.clock,
            folder=self.folder,
            on_change=self.changes.append,
        )


@pytest.fixture
def place(tmp_path: Path, clock: FakeClock) -> Place:
    return Place(tmp_path, clock)


def test_without_a_file_the_built_in_policy_finds_and_blocks_without_limits(place: Place):
    store = place.store()
    assert store.source == "built-in"
    assert store.version.startswith("built-in+")
    assert store.current.plan.block_on_match
    assert store.current.limits.user_requests_per_hour is None
    assert not store.check_now()


def test_the_working_directory_wins_over_the_data_folder_and_the_settings_over_both(place: Place, tmp_path: Path):
    place.in_data.write_text("version: data")
    assert place.store().version.startswith("data+")
    place.in_folder.write_text("version: folder")
    assert place.store().version.startswith("folder+")
    named = tmp_path / "named.yaml"
    named.write_text("version: named")
    assert place.store(named).version.startswith("named+")


def test_a_bad_or_missing_file_stops_the_start(place: Place, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: The file cannot be read"):
        place.store(tmp_path / "gone.yaml")
    place.in_data.write_text("versio: 1")
    with pytest.raises(DocumentError, match="Did you mean 'version'"):
        place.store()


def test_a_change_is_taken_whole_and_reported_with_before_after_and_who(place: Place):
    place.in_data.write_text("version: one")
    store = place.store()
    before = store.current
    place.in_data.write_text("version: two\nusage_limits: {per_user: {requests_per_hour: 5}}")
    place.clock.advance(7)
    assert store.check_now()
    assert store.current is not before
    assert store.current.limits.user_requests_per_hour == 5
    assert before.limits.user_requests_per_hour is None  # a call in flight keeps the version it was decided by
    [change] = place.changes
    assert (change.before_version, change.after_version) == (before.version, store.version)
    assert (change.before_sha256, change.after_sha256) == (before.sha256, store.current.sha256)
    assert change.by not in {"", "unknown"}
    assert change.at == place.clock.now() == store.loaded_at
    assert change.error == ""
    assert store.reloads == 1
    assert not store.check_now()


def test_a_file_with_a_mistake_leaves_the_old_policy_in_force_and_is_reported_once(place: Place):
    place.in_data.write_text("version: good\ncontact: me")
    store = place.store()
    good = store.current
    place.in_data.write_text("version: bad\ncontac: me")
    assert not store.check_now()
    assert not store.check_now()
    assert store.current is good
    assert store.failures == 1
    assert "2:1: Unknown key 'contac'" in str(store.last_error)
    [change] = place.changes
    assert change.after_version == ""
    assert change.after_sha256 != change.before_sha256
    assert "Did you mean 'contact'?" in change.error
    place.in_data.write_text("version: good\ncontact: me")
    assert not store.check_now()
    assert store.last_error is None
    assert store.current.version == good.version
    place.in_data.write_text("version: better")
    assert store.check_now()


def test_a_file_that_vanishes_leaves_the_old_policy_in_force(place: Place):
    place.in_folder.write_text("version: one")
    place.in_data.write_text("version: other")
    store = place.store()
    place.in_folder.unlink()
    assert not store.check_now()
    assert store.version.startswith("one+")
    assert "cannot be read" in str(store.last_error)
    assert store.failures == 1
    place.in_folder.write_text("version: two")
    assert store.check_now()
    assert store.last_error is None


def test_a_first_file_that_appears_replaces_the_built_in_policy(place: Place):
    store = place.store()
    place.in_data.write_text("oops: 1")
    assert not store.check_now()
    assert store.source == "built-in"
    assert store.last_error is not None
    place.in_data.unlink()
    assert not store.check_now()
    assert store.last_error is None
    place.in_data.write_text("version: mine")
    assert store.check_now()
    assert store.source == str(place.in_data)


def test_a_changed_roles_file_changes_the_permissions_and_the_version(place: Place):
    roles = place.in_data.parent / "roles.yaml"
    roles.write_text("roles: {guest: {permissions: [read_logs]}}")
    place.in_data.write_text("security: {access_control: {authorization: {roles_file: roles.yaml}}}")
    store = place.store()
    version = store.version
    assert "telemetry:logs:read" in store.permissions(["guest"])
    roles.write_text("roles: {guest: {permissions: []}}")
    assert store.check_now()
    assert store.permissions(["guest"]) == frozenset()
    assert store.version != version
    roles.write_text("roles: {guest: {permissions: [oops]}}")
    assert not store.check_now()
    assert store.permissions(["guest"]) == frozenset()
    assert "roles.yaml:1:31" in str(store.last_error)
    assert "guest" in store.role_names()
    roles.write_text("roles: {guest: {permissions: [read_logs]}}")
    assert store.check_now()
    assert store.version == version


def test_a_change_of_the_same_size_and_time_is_seen(place: Place):
    place.in_data.write_text("version: aaa")
    os.utime(place.in_data, ns=(1, 1))
    store = place.store()
    place.in_data.write_text("version: bbb")
    os.utime(place.in_data, ns=(1, 1))
    assert store.check_now()


def test_a_proposed_text_is_checked_without_being_taken(place: Place):
    store = place.store()
    assert store.check("version: proposed").version.startswith("proposed+")
    with pytest.raises(DocumentError, match=r"policy:1:1: Unknown key 'versin'"):
        store.check("versin: 1")
    assert store.source == "built-in"


async def test_the_watcher_takes_a_new_file_by_itself(place: Place):
    store = place.store()
    changed = asyncio.Event()
    store._on_change = lambda _change: changed.set()
    watcher = asyncio.create_task(store.run())
    try:
        place.in_data.write_text("version: watched")
        async with asyncio.timeout(10):
            await changed.wait()
        assert store.version.startswith("watched+")
    finally:
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher
