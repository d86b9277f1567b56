"""What deciding costs: CPU microseconds a call of conditions, lists of tools, approvals' digest, verdicts in a stream.

Run: python bench/policy.py [--calls 5000]
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from ai_platform.approvals.digest import digest_of
from ai_platform.domain.approval import ApprovalDemand
from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal
from ai_platform.gateway.safeguards import asks_for_verdicts
from ai_platform.policy import Policy
from ai_platform.policy.expressions import Expression
from ai_platform.policy.view import Surroundings

CALLER = Principal(
    id="usr_1",
    name="Ada",
    email="ada@example.org",
    roles=("developer", "lead"),
    groups=tuple(f"group-{number}" for number in range(20)),
    team="payments",
    permissions=frozenset({"*"}),
)
ARGUMENTS = {"sql": "select * from t", "limit": 10, "options": {"a": [1, 2, 3]}}
BODY = b'{"model":"claude-sonnet-5-5","messages":[' + b'{"role":"user","content":"x"},' * 20_000 + b"{}]}"


def model_call() -> Call:
    return Call(
        id="call_1",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        head=Head(model="claude-sonnet-5-5", stream=True, max_tokens=4096),
        body=b"{}",
    )


def tool_call(arguments: object = None) -> Call:
    return Call(
        id="call_1",
        door=Door.MCP,
        operation=Operation.TOOLS_CALL,
        method="POST",
        path="/mcp",
        head=Head(server="warehouse", tool="query"),
        body=msgspec.json.encode({"arguments": arguments or ARGUMENTS}),
    )


def policy(*conditions: str, approvals: int = 0) -> Policy:
    rules = [{"name": f"r{number}", "effect": "deny", "when": when} for number, when in enumerate(conditions)]
    gates = [
        {"name": f"g{number}", "resources": [f"prod-{number}"], "requires_approval": True, "approvers": ["x"]}
        for number in range(approvals)
    ]
    text = json.dumps({"rules": rules, "policies": gates})
    return Policy.load(text, surroundings=Surroundings(time.time))


def micros(work: Callable[[], object], calls: int) -> float:
    """CPU microseconds of one call: the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        gc.collect()
        began = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, (time.process_time() - began) / calls * 1e6)
    return best


def cases() -> dict[str, Callable[[], object]]:
    by_caller = "caller.team == 'red' && call.model.startsWith('claude-opus') && !('lead' in caller.groups)"
    by_time = "time.hour > 24 || spend.user_usd_today > 1000000.0"
    by_argument = "call.server == 'warehouse' && call.arguments.sql.contains('drop')"
    none, one, fifty = policy(), policy(by_caller), policy(*[by_caller] * 50)
    timed, tools, many_tools = policy(by_time), policy(by_argument), policy(*[by_argument] * 50)
    gated = policy(approvals=10)
    asked, called, large = model_call(), tool_call(), tool_call({"items": list(range(1900))})
    demand = ApprovalDemand(rule="r", approvers=("x",))
    return {
        "decide, no rule": lambda: none.decide(CALLER, asked),
        "decide, 1 condition on caller and model": lambda: one.decide(CALLER, asked),
        "decide, 50 conditions": lambda: fifty.decide(CALLER, asked),
        "decide, 1 condition on time and spend": lambda: timed.decide(CALLER, asked),
        "decide a tool call, no rule": lambda: none.decide(CALLER, called),
        "decide a tool call, 1 condition on arguments": lambda: tools.decide(CALLER, called),
        "decide a tool call, 50 conditions on arguments": lambda: many_tools.decide(CALLER, called),
        "decide a tool call of 1900 values, 1 condition": lambda: _refused(tools, large),
        "weigh, no approval": lambda: none.weigh(CALLER, called, none.decide(CALLER, called), ()),
        "weigh, 10 approvals": lambda: gated.weigh(CALLER, called, gated.decide(CALLER, called), ()),
        "a list: one tool, no rule": lambda: none.may_reach(CALLER, Operation.TOOLS_CALL, "warehouse", "query"),
        "a list: one tool, 1 condition": lambda: one.may_reach(CALLER, Operation.TOOLS_CALL, "warehouse", "query"),
        "digest of a tool call": lambda: digest_of(CALLER, called, demand, "1"),
        "does a 600 KB body ask for verdicts": lambda: asks_for_verdicts(BODY),
        "compile one condition": lambda: Expression(by_caller),
    }


def _refused(made: Policy, call: Call) -> None:
    """A call whose condition cannot be decided; also what the costliest arguments cost."""
    with suppress(Denied):
        made.decide(CALLER, call)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    calls = parser.parse_args().calls
    for name, work in cases().items():
        print(f"{name:50} {micros(work, max(10, calls // (20 if '1900' in name else 1))):10.1f} us")


if __name__ == "__main__":
    main()
