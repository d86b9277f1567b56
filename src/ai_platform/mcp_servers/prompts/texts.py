"""The three prompts of the library, filled."""

from collections.abc import Sequence

from ai_platform.mcp_servers.marks import ADVICE, fenced
from ai_platform.mcp_servers.prompts.material import Budget, Change, Measure, SourceFile, left_out

_REVIEW = """\
Answer with these sections:
1. **Summary**: what changes and why, in two to four sentences.
2. **File by file**: for each file that needs it, what is right, what is wrong and where (file and line):
   correctness, security, performance, tests, readability. Skip files without findings.
3. **Actions**: a numbered list, most important first, each with severity (critical, warning, info) and the
   smallest change that settles it.
4. **Verdict**: exactly one of `approve`, `request changes`, `comment`, with one sentence of reason."""
_AUDIT = """\
Look for: injection (SQL, shell, templates, paths), missing or wrong authentication and authorisation, secrets
in code, unsafe deserialisation, server-side request forgery, cryptography, races, resource exhaustion, and
unsafe defaults.

For each finding give: severity (critical, high, medium, low), file and line, how it is exploited, and the fix.
Order by severity. Name what you checked and found sound. Do not report what you cannot point to in the code."""
_ASSESSMENT = """\
Read the files that matter before you judge; much changed and large together is where to start. Then answer with:
1. **State**: responsibilities, structure and dependencies as they are.
2. **Problems**: each with file and line, its cost today, and its evidence (size, churn, duplication, coupling,
   missing tests).
3. **Plan**: steps that each leave the code working, in order, with effort (S, M, L), risk, and how the step is
   tested.
4. **Not worth it**: what to leave alone, and why."""


def code_review(change: Change, focus: str) -> str:
    budget = Budget()
    table = [f"- {file.path} ({file.status}, +{file.added} -{file.removed})" for file in change.files]
    if change.more_files:
        table.append(f"- and {change.more_files} more files")
    patches = [
        f"### {file.path}\n{patch}"
        for file in change.files
        if file.patch and (patch := budget.take(file.path, file.patch)) is not None
    ]
    about = [f"Title: {change.title}", f"Author: {change.author}", f"From {change.head} into {change.base}"]
    if change.description:
        about += ["Description:", change.description[:10_000]]
    return "\n\n".join(
        part
        for part in (
            f"Review {change.name}.",
            f"Pay particular attention to: {focus}." if focus else "",
            ADVICE,
            fenced("about", "\n".join(about)),
            "Changed files:\n" + fenced("files", "\n".join(table)),
            "The changes:\n" + fenced("diff", "\n\n".join(patches)) if patches else "",
            left_out(budget),
            _REVIEW,
        )
        if part
    )


def security_audit(pattern: str, commit: str, files: Sequence[SourceFile], more: int) -> str:
    budget = Budget()
    shown: list[str] = []
    for file in files:
        text = None if file.text is None else budget.take(file.path, file.text)
        if text is not None:
            shown.append(f"### {file.path}\n{text}")
        elif file.text is None:
            budget.left_out.append(file.path)
    return "\n\n".join(
        part
        for part in (
            f"Audit the security of the files that match `{pattern}` ({len(files) + more} files, commit {commit}).",
            ADVICE,
            fenced("files", "\n\n".join(shown)),
            left_out(budget),
            f"{more} more files match and are not shown." if more else "",
            _AUDIT,
        )
        if part
    )


def refactor_assessment(directory: str, commit: str, measures: Sequence[Measure], more: int) -> str:
    rows = [f"{file.path}\t{_told(file.lines)}\t{file.size}\t{_told(file.commits)}" for file in measures]
    table = "\n".join(["file\tlines\tbytes\tcommits in a year", *rows])
    return "\n\n".join(
        part
        for part in (
            f"Assess whether and how `{directory}` should be refactored (commit {commit}).",
            ADVICE,
            "Its files, the most changed and largest first:\n" + fenced("measures", table),
            f"{more} smaller files are not listed." if more else "",
            _ASSESSMENT,
        )
        if part
    )


def _told(number: int | None) -> str:
    return "-" if number is None else str(number)
