"""Two shapes most secrets have, so that their records stay short: a token with a documented prefix, and a key without
one that stands beside its service's name. Below: rule.py, evidence_services.py. Above: secrets_*, services_*.
"""

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checks import issued, random_looking
from ai_platform.protection.rule import Anchor, Check, Rule
from ai_platform.protection.rules.evidence_services import SERVICES


def vendor_token(
    rule_id: str,
    label: str,
    source: str,
    *,
    starts: tuple[str, ...] = (),
    triggers: tuple[str, ...] = (),
    confirm: str,
    examples: tuple[str, ...],
    counter_examples: tuple[str, ...] = (),
    then: str = "",
    glued: bool = False,
    lead: int = 0,
    type: str | None = None,  # noqa: A002 - the record's own field name
    check: Check | None = random_looking,
    severity: Severity = Severity.CRITICAL,
) -> Rule:
    """A secret that its vendor marks with a prefix. type: the rule's id in capitals unless several rules share one."""
    return Rule(
        id=rule_id,
        type=type or rule_id.upper().replace("-", "_"),
        label=label,
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=severity,
        source=source,
        starts=starts,
        then=then,
        triggers=triggers,
        glued=glued,
        lead=lead,
        confirm=confirm,
        check=check,
        examples=examples,
        counter_examples=counter_examples,
    )


ASSIGNED = (
    r"""[\w.-]{0,24}(?: [a-z]{2,10}){0,2}["'\]\\]{0,3}(?: string)?\s{0,6}"""
    r"""(?:[:?.+|]{0,3}=>?|:{1,2}|,|>|\bis\b)\s{0,8}(?:(?:Bearer|Token|token) )?\\?["'`]?"""
)
"""What stands between a service's name and the value: the rest of the name, an assignment in any notation, a quote."""


def service_key(
    rule_id: str,
    service: str,
    *,
    keyword: str,
    value: str,
    example: str,
    action: Action = Action.ALERT,
    check: Check = issued,
) -> Rule:
    """A credential without a prefix: `keyword` names the service, `value` is the documented shape."""
    full_id = f"{rule_id}-credential"
    page = SERVICES.get(full_id)
    return Rule(
        id=full_id,
        type="SERVICE_CREDENTIAL",
        label=f"a {service} credential",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.HIGH,
        source=page.url if page else f"{service} developer documentation, authentication",
        triggers=(keyword,),
        nocase=True,
        anchor=Anchor.END,
        confirm=rf"{ASSIGNED}(?P<v>(?-i:{value}))(?![\w+/-]|=[\w])",
        check=check,
        action=action,
        examples=(example,),
    )
