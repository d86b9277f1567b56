import pytest
from audit_kit import event
from audit_site import Site

from ai_platform.audit import Trail
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.event import EventType
from ai_platform.stores.rows import Insert
from ai_platform.testing import MemoryTrail

pytestmark = pytest.mark.anyio

ROW = Insert("probe", ("id", "amount"), ("a", 1))


async def test_the_twin_keeps_what_the_trail_keeps(site: Site) -> None:
    await site.probe_table()
    twin = MemoryTrail()
    real = await site.trail()
    made = [event(EventType.CHAT_REQUEST), event(EventType.CHAT_RESPONSE)]
    trails: tuple[Trail, ...] = (twin, real)
    for trail in trails:
        await trail.append(made, [ROW])
    assert twin.appends == [(tuple(made), (ROW,))]
    assert (twin.events, twin.rows) == (made, [ROW])
    assert twin.of_type(EventType.CHAT_RESPONSE) == made[1:]
    assert {each.id for each in made} <= set(await site.stored_ids())


async def test_the_twin_fails_as_often_as_it_is_told() -> None:
    twin = MemoryTrail()
    twin.fail_next = 1
    with pytest.raises(AuditUnavailable):
        await twin.append([event()])
    await twin.append([event()])
    twin.failing = True
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await twin.append([event()])
    assert (len(twin.events), twin.refused) == (1, 3)
    await twin.close()
