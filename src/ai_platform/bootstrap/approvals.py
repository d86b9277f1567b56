"""The approvals room and the step of the flow that asks it."""

from ai_platform.approvals import Approvals
from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers
from ai_platform.domain.principal import SIGNED_IN, Principal
from ai_platform.gateway.consent import Consent
from ai_platform.gateway.witness import ApprovalWitness
from ai_platform.protection import Guard
from ai_platform.sso.standing import standing_of
from ai_platform.telemetry import Meter


async def approvals_of(base: Base, callers: Callers) -> Approvals:
    """Watching for decisions of other replicas, and ending what is over, while the platform runs."""

    async def makers(tenant: str, key_id: str) -> frozenset[str]:
        return await callers.keys.makers(key_id, tenant=tenant)

    async def standing(tenant: str, principal_id: str, key_id: str | None) -> Principal | None:
        if key_id is None:
            return None
        if not key_id.startswith(SIGNED_IN):
            return await callers.keys.holder(key_id, tenant=tenant)
        return await standing_of(
            base.database,
            tenant,
            principal_id,
            roles=base.policies,
            clock=base.clock,
            session_seconds=base.settings.sso.sessions.absolute_seconds,
        )

    approvals = Approvals(
        base.database,
        base.settings.approvals,
        base.clock,
        key=base.secret.derive("approvals: addresses"),
        seal=base.secret.derive("approvals: shown"),
        witness=ApprovalWitness(base.trail, base.alerts, base.clock),
        makers=makers,
        standing=standing,
    )
    await base.in_background(approvals.run(base.system), "approvals watch")
    return approvals


def register_approval_gauges(meter: Meter, approvals: Approvals) -> None:
    meter.gauge("aip_approvals_waiting", "Calls that wait for consent in this process.", lambda: approvals.waiting)
    meter.counter("aip_approvals_asked_total", "Requests for consent made.", lambda: approvals.asked)
    meter.counter("aip_approvals_used_total", "Calls that used a consent.", lambda: approvals.used)


def consent_of(base: Base, callers: Callers, guard: Guard, approvals: Approvals) -> Consent:
    return Consent(approvals, identity=callers.authenticator, policies=base.policies, protection=guard)
