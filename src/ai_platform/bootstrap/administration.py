"""The admin API: the routes of every area behind one guard."""

from ai_platform.audit.reader import AuditReader
from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers, services_of
from ai_platform.bootstrap.core import Core
from ai_platform.bootstrap.directory import directory_of
from ai_platform.entrypoints.admin.access import endpoints as access_endpoints
from ai_platform.entrypoints.admin.approvals import endpoints as approval_endpoints
from ai_platform.entrypoints.admin.audit import endpoints as audit_endpoints
from ai_platform.entrypoints.admin.break_glass import endpoints as break_glass_endpoints
from ai_platform.entrypoints.admin.incidents import endpoints as incident_endpoints
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.admin.service_accounts import endpoints as service_account_endpoints
from ai_platform.entrypoints.admin.sign_in import endpoints as sign_in_endpoints
from ai_platform.entrypoints.admin.usage import endpoints as usage_endpoints
from ai_platform.protection import Incidents


def administration(base: Base, callers: Callers, core: Core, reader: AuditReader) -> AdminRouter:
    directory = directory_of(base, callers)
    endpoints = [
        *audit_endpoints(reader),
        *key_endpoints(callers.keys),
        *service_account_endpoints(services_of(base), callers.signon, callers.keys),
        *sign_in_endpoints(callers.signon, callers.signing_in.health if callers.signing_in else None),
        *access_endpoints(directory.people, callers.keys, base.policies, callers.signon),
        *break_glass_endpoints(callers.signon.emergency if callers.signon else None, base.url),
        *directory.endpoints(),
        *policy_endpoints(base.policies),
        *approval_endpoints(core.approvals, base.policies, names=callers.keys.names),
        *incident_endpoints(Incidents(base.database), base.clock),
        *usage_endpoints(core.ledger, core.budget, base.clock, names=callers.keys.names),
        *(core.servers.endpoints if core.servers else ()),
    ]
    return AdminRouter(
        endpoints,
        identity=callers.authenticator,
        trail=base.trail,
        clock=base.clock,
        tenants=directory.tenants,
    )
