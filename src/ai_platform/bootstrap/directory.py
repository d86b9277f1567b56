"""People, teams and tenants."""

import msgspec

from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers
from ai_platform.directory import People, Teams, Tenants
from ai_platform.entrypoints.admin.endpoint import Endpoint
from ai_platform.entrypoints.admin.people import endpoints as people_endpoints
from ai_platform.entrypoints.admin.tenants import endpoints as tenant_endpoints


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    people: People
    teams: Teams
    tenants: Tenants

    def endpoints(self) -> list[Endpoint]:
        return [*people_endpoints(self.people, self.teams), *tenant_endpoints(self.tenants)]


def directory_of(base: Base, callers: Callers) -> Directory:
    ended = callers.authenticator.ended
    return Directory(
        people=People(base.database, keys=callers.keys, roles=base.policies, ended=ended, clock=base.clock),
        teams=Teams(base.database),
        tenants=Tenants(base.system, keys=callers.keys, ended=ended),
    )
