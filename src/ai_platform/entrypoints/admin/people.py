"""Admin endpoints of people, teams and projects, within the caller's tenant."""

from typing import Any

import msgspec

from ai_platform.directory import People, Teams
from ai_platform.directory.person import Entry, State
from ai_platform.directory.teams import Label
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint, Handler, body_as, flag


class NewLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/teams and /admin/projects."""

    name: str
    title: str = ""


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/teams/{id}/members. person: id, e-mail address or name."""

    person: str


def endpoints(people: People, teams: Teams) -> list[Endpoint]:
    """Routes under /admin/people, /admin/teams and /admin/projects. {id}: of a person, the e-mail address will do."""
    routes = PeopleRoutes(people)
    members = MemberRoutes(people, teams)
    found = [
        Endpoint("GET", "/admin/people", Permission.PEOPLE_READ, routes.list),
        Endpoint("GET", "/admin/people/{id}", Permission.PEOPLE_READ, routes.show),
        Endpoint("DELETE", "/admin/people/{id}", Permission.PEOPLE_WRITE, routes.ending(State.REMOVED), changes=True),
        Endpoint(
            "POST",
            "/admin/people/{id}/suspend",
            Permission.PEOPLE_WRITE,
            routes.ending(State.SUSPENDED),
            changes=True,
        ),
        Endpoint("POST", "/admin/people/{id}/resume", Permission.PEOPLE_WRITE, routes.resume, changes=True),
        Endpoint("GET", "/admin/teams/{id}/members", Permission.TEAMS_READ, members.list),
        Endpoint("POST", "/admin/teams/{id}/members", Permission.TEAMS_WRITE, members.add, changes=True),
        Endpoint("DELETE", "/admin/teams/{id}/members/{person}", Permission.TEAMS_WRITE, members.remove, changes=True),
    ]
    for label in Label:
        names = LabelRoutes(teams, label)
        found += [
            Endpoint("GET", f"/admin/{label.value}", Permission.TEAMS_READ, names.list),
            Endpoint("POST", f"/admin/{label.value}", Permission.TEAMS_WRITE, names.create, changes=True),
            Endpoint("DELETE", f"/admin/{label.value}/{{id}}", Permission.TEAMS_WRITE, names.remove, changes=True),
        ]
    return found


class PeopleRoutes:
    def __init__(self, people: People) -> None:
        self._people = people

    async def list(self, request: AdminRequest) -> list[Entry]:
        """Query: `team=NAME`, `all=1` for those who were removed too."""
        return await self._people.list(
            tenant=request.principal.tenant, team=request.params.get("team"), removed=flag(request.params, "all")
        )

    async def show(self, request: AdminRequest) -> Entry:
        return await self._people.get(request.params["id"], tenant=request.principal.tenant)

    def ending(self, state: State) -> Handler:
        async def ends(request: AdminRequest) -> Any:
            return await self._people.end(request.params["id"], state, by=request.principal)

        return ends

    async def resume(self, request: AdminRequest) -> Entry:
        return await self._people.resume(request.params["id"], by=request.principal)


class MemberRoutes:
    def __init__(self, people: People, teams: Teams) -> None:
        self._people = people
        self._teams = teams

    async def list(self, request: AdminRequest) -> Any:
        tenant = request.principal.tenant
        team = await self._teams.get(Label.TEAM, request.params["id"], tenant=tenant)
        return await self._people.list(tenant=tenant, team=team.name)

    async def add(self, request: AdminRequest) -> Entry:
        tenant = request.principal.tenant
        team = await self._teams.get(Label.TEAM, request.params["id"], tenant=tenant)
        person = body_as(request, Member).person
        return await self._people.assign(person, team.name, tenant=tenant)

    async def remove(self, request: AdminRequest) -> Entry:
        tenant = request.principal.tenant
        return await self._people.leave(request.params["person"], request.params["id"], tenant=tenant)


class LabelRoutes:
    def __init__(self, teams: Teams, label: Label) -> None:
        self._teams = teams
        self._label = label

    async def list(self, request: AdminRequest) -> Any:
        return await self._teams.list(self._label, tenant=request.principal.tenant)

    async def create(self, request: AdminRequest) -> Any:
        new = body_as(request, NewLabel)
        return await self._teams.create(self._label, new.name, new.title, by=request.principal)

    async def remove(self, request: AdminRequest) -> Any:
        return await self._teams.remove(self._label, request.params["id"], by=request.principal)
