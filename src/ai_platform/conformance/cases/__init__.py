"""The cases, one file a topic. CASES is all of them in the order they run."""

from ai_platform.conformance.case import Case
from ai_platform.conformance.cases.access import ACCESS
from ai_platform.conformance.cases.bodies import BODIES
from ai_platform.conformance.cases.connections import CONNECTIONS
from ai_platform.conformance.cases.endpoints import ENDPOINTS
from ai_platform.conformance.cases.errors import ERRORS
from ai_platform.conformance.cases.headers import HEADERS
from ai_platform.conformance.cases.refusals import REFUSALS
from ai_platform.conformance.cases.streams import STREAMS

CASES: tuple[Case, ...] = (
    *ACCESS,
    *ENDPOINTS,
    *BODIES,
    *HEADERS,
    *STREAMS,
    *ERRORS,
    *CONNECTIONS,
    *REFUSALS,
)
