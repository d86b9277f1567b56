"""Any order of asking, deciding, using, restarting and removing people: one consent, one call, never one's own."""

from functools import partial
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest
from approvals_kit import ANN, BOB, CID, Office, tool_call
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from ai_platform.approvals.waiting import Waiting
from ai_platform.domain.errors import ApprovalNeeded, Denied, InvalidCall
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

CALLERS = st.sampled_from([ANN, BOB])
DECIDERS = st.sampled_from([BOB, CID, ANN])
CALLS = st.sampled_from([tool_call({"n": number}) for number in range(2)])


class Consents(RuleBasedStateMachine):
    """The model: of each request who asked what, who agreed when under which version, and whether it was used."""

    database: Database
    system: SystemDatabase
    numbers = iter(range(1_000_000))

    @initialize()
    def begin(self) -> None:
        self.tenant = f"t{next(self.numbers)}"
        self.offices = [Office(self.database, self.system, FakeClock())]
        self.offices.append(Office(self.database, self.system, self.offices[0].clock, like=self.offices[0]))
        self.away: set[str] = set()
        self.asked: dict[str, tuple[str, bytes]] = {}
        self.agreed: dict[str, tuple[str, float, str]] = {}
        self.over: set[str] = set()

    def of(self, principal: Principal) -> Principal:
        return replace(principal, tenant=self.tenant)

    def run(self, work: Any) -> Any:
        try:
            return anyio.from_thread.run(work)
        except (ApprovalNeeded, Denied, InvalidCall) as error:
            return error

    @rule(which=st.integers(0, 1), caller=CALLERS, call=CALLS)
    def ask(self, which: int, caller: Principal, call: Any) -> None:
        office = self.offices[which]
        result = self.run(partial(office.ask, call, caller=self.of(caller)))
        if isinstance(result, ApprovalNeeded):
            self.asked.setdefault(result.id, (caller.id, call.body))
        elif not isinstance(result, Denied):
            by, until, version = self.agreed[result.id]
            assert self.asked[result.id] == (caller.id, call.body), "consent to another call or of another caller"
            assert by != caller.id
            assert f"key_{by[4:]}" not in self.away, "of somebody who is no more"
            assert office.clock.now() < until, "after its time"
            assert version == office.version, "under another policy"
            assert result.id not in self.over, "used twice, or after it ended"
            self.over.add(result.id)

    @rule(which=st.integers(0, 1), by=DECIDERS, agree=st.booleans(), choice=st.integers(0, 2))
    def decide(self, which: int, by: Principal, agree: bool, choice: int) -> None:  # noqa: FBT001 - a drawn value
        if not self.asked:
            return
        office = self.offices[which]
        request_id = list(reversed(self.asked))[choice % len(self.asked)]
        result = self.run(partial(office.decide, request_id, by=self.of(by), agree=agree))
        if isinstance(result, Exception):
            return
        assert by in {BOB, CID}, "not an approver"
        assert self.asked[request_id][0] != by.id, "about one's own call"
        assert request_id not in self.agreed
        assert request_id not in self.over, "decided twice"
        if agree:
            self.agreed[request_id] = (by.id, office.clock.now() + 900, office.version)
        else:
            self.over.add(request_id)

    @rule(seconds=st.sampled_from([1, 600, 901, 3601]))
    def wait(self, seconds: int) -> None:
        self.offices[0].clock.advance(seconds)

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        kept = self.offices[which]
        self.offices[which] = Office(self.database, self.system, kept.clock, like=kept)
        self.offices[which].version = kept.version

    @rule()
    def sweep(self) -> None:
        waiting: Waiting = self.offices[0].room._waiting  # pyright: ignore[reportPrivateUsage]
        self.run(partial(waiting.look, self.system))

    @rule()
    def change_the_policy(self) -> None:
        for office in self.offices:
            office.version += "'"

    @rule(caller=CALLERS, call=CALLS)
    def agree_to(self, caller: Principal, call: Any) -> None:
        """The usual way, so that it is walked often."""
        self.ask(0, caller, call)
        self.decide(1, CID, True, 0)

    @rule(principal=st.sampled_from([BOB, CID]))
    def remove_or_take_back(self, principal: Principal) -> None:
        key = principal.key_id or ""
        if key in self.away:
            self.away.discard(key)
            self.offices[0].people[key] = principal
        else:
            self.away.add(key)
            del self.offices[0].people[key]

    @invariant()
    def nothing_is_used_more_than_once_or_without_consent(self) -> None:
        rows = anyio.from_thread.run(
            self.system.fetch,
            "SELECT state, uses, decided_by, principal_id FROM approvals WHERE tenant = $1",
            self.tenant,
        )
        for row in rows:
            assert row["uses"] == (1 if row["state"] == "used" else 0)
            assert row["state"] not in {"used", "approved"} or row["decided_by"] not in {None, row["principal_id"]}


@pytest.mark.anyio
@pytest.mark.requirement("PO-7")
async def test_whatever_happens_consent_is_given_once_by_another_and_used_once(
    database: Database, system: SystemDatabase
):
    machine = type("Here", (Consents,), {"database": database, "system": system})
    limits = settings(max_examples=15, stateful_step_count=25, deadline=None)
    await anyio.to_thread.run_sync(partial(run_state_machine_as_test, machine, settings=limits))
