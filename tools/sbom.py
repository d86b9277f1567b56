"""Writes sbom.cdx.json: what an installation consists of, with versions and hashes (CycloneDX 1.6, cyclonedx.org).

`python tools/sbom.py` takes it from requirements/runtime.txt, which is what is installed; `--check` only says whether
the file is up to date, and ends with 1 when it is not.
"""

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parent.parent
PINS = ROOT / "requirements" / "runtime.txt"
SBOM = ROOT / "sbom.cdx.json"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(pins: str) -> list[dict[str, Any]]:
    """One component for each pin; hashes are those of its distribution files."""
    starts = list(_PIN.finditer(pins))
    ends = [start.start() for start in starts[1:]] + [len(pins)]
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{pin[1].lower()}@{pin[2]}",
            "name": pin[1],
            "version": pin[2],
            "purl": f"pkg:pypi/{pin[1].lower()}@{pin[2]}",
            "hashes": [
                {"alg": "SHA-256", "content": digest} for digest in sorted(_HASH.findall(pins[pin.start() : end]))
            ],
        }
        for pin, end in zip(starts, ends, strict=True)
    ]


def document() -> bytes:
    project = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert project is not None
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "ai-platform", "version": project[1]}},
        "components": components(PINS.read_text(encoding="utf-8")),
    }
    return msgspec.json.format(msgspec.json.encode(bom), indent=1) + b"\n"


def main() -> int:
    wanted = document()
    if "--check" not in sys.argv:
        SBOM.write_bytes(wanted)
        return 0
    if SBOM.exists() and SBOM.read_bytes() == wanted:
        return 0
    print(f"out of date: {SBOM.name}. Run: python tools/sbom.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
