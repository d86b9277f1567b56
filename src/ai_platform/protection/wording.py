"""What a person reads when a value is blocked: what was found, where, what to do. Never the value."""

from collections.abc import Callable, Sequence

from ai_platform.domain.finding import Finding


def listing(labels: Sequence[str]) -> str:
    unique = list(dict.fromkeys(labels))
    return unique[0] if len(unique) == 1 else ", ".join(unique[:-1]) + " and " + unique[-1]


def place(findings: Sequence[Finding]) -> str:
    paths = list(dict.fromkeys(finding.path for finding in findings if finding.path))
    if not paths:
        return ""
    return f" ({', '.join(paths[:3])}{' and elsewhere' if len(paths) > 3 else ''})"


def blocked_input(findings: Sequence[Finding], label: Callable[[str], str]) -> str:
    """label: how a rule's finding is called, by the rule's id."""
    kinds = listing([label(finding.rule) for finding in findings])
    values = len({finding.value_hash or (finding.path, finding.start) for finding in findings})
    what = f"1 value that looks like {kinds} was" if values == 1 else f"{values} values that look like {kinds} were"
    it, they_are = ("it", "it is") if values == 1 else ("them", "they are")
    return (
        f"Blocked by the data-protection policy: {what} found in your message{place(findings)}. Nothing was sent."
        f" Remove {it} and send again; if you go on without removing {it}, {they_are} redacted from now on and the"
        " conversation can go on."
    )


def blocked_for_good(findings: Sequence[Finding], label: Callable[[str], str]) -> str:
    """For a value in a place that must not be changed, such as an identifier or signed thinking."""
    kinds = listing([label(finding.rule) for finding in findings])
    return (
        f"Blocked by the data-protection policy: your request holds {kinds}{place(findings)}, where it cannot be"
        " replaced without breaking the call. Nothing was sent. Use another identifier there; if it stands in the"
        " conversation so far, start a new session."
    )


def blocked_arguments(findings: Sequence[Finding], label: Callable[[str], str]) -> str:
    kinds = listing([label(finding.rule) for finding in findings])
    return (
        f"Blocked by the data-protection policy: the tool's arguments hold {kinds}{place(findings)}. The tool was not"
        " called. Call it without that value, or ask the owner of the policy."
    )


def unfinished(seconds: float) -> str:
    return (
        f"This could not be inspected within {seconds:g} seconds, so it was not passed on. Send less in one call, or"
        " ask the operator to raise protection.time_budget."
    )


def too_much_prose(most: int) -> str:
    return (
        f"This brings more than {most:,} characters of new prose, too much to look for names of people in one call, so"
        " it was not passed on. Send it again to go on where it ended, send less, or ask the operator to raise"
        " protection.names.most_characters."
    )


def blocked_output(findings: Sequence[Finding], label: Callable[[str], str]) -> str:
    kinds = listing([label(finding.rule) for finding in findings])
    return (
        f"Stopped by the data-protection policy: the answer contained {kinds}. It was not passed on. Ask again without"
        " requesting that value, or ask the owner of the policy."
    )
