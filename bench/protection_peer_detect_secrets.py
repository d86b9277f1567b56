"""detect-secrets: its default plugins and filters, a file for each text.

Run by bench/protection.py with an interpreter that has it installed; see protection_peer.py.
"""

import tempfile
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings
from protection_peer import SECRET, Found, serve


def scan(texts: list[str]) -> list[Found]:
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder, default_settings():
        for number, text in enumerate(texts):
            file = Path(folder) / f"{number}.txt"
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
            secrets = SecretsCollection()
            secrets.scan_file(str(file))
            lines = text.splitlines(keepends=True)
            found.append([in_line(lines, secret.line_number, secret.secret_value or "") for _, secret in secrets])
    return found


def in_line(lines: list[str], number: int, value: str) -> tuple[int, int, str]:
    """The place of a value that is reported with its line only; the whole line when it is not found there."""
    start = sum(map(len, lines[: number - 1]))
    line = lines[number - 1] if number <= len(lines) else ""
    place = line.find(value) if value else -1
    return (start, start + len(line), SECRET) if place < 0 else (start + place, start + place + len(value), SECRET)


if __name__ == "__main__":
    serve("detect-secrets", scan)
