"""Without an extra its features are not there; a package that is there and broken is no reason to hide them."""

import subprocess
import sys

import pytest

from platform_process import clean_environ

WITHOUT = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise {error}
        return None

sys.meta_path.insert(0, Hidden())
from ai_platform.bootstrap import platform, sign_in
from ai_platform.policy import expressions
there = {{"mcp": platform.tools, "scim": platform.scim_wiring(), "saml": sign_in.saml_reading}}
there |= {{"mfa": sign_in.second_factors, "cel": expressions.cel}}
print(*(name for name, module in there.items() if module is not None))
"""
EXTRAS = ("mcp", "scim", "saml", "mfa", "cel")


def imports(hidden: str, error: str) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(hidden={hidden}, error=error)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environ(), timeout=60, check=False)


@pytest.mark.parametrize(
    ("extra", "package"),
    list(zip(EXTRAS, ("mcp", "scim2_server", "onelogin", "pyotp", "cel"), strict=True)),
)
def test_without_an_extra_everything_else_is_there(extra: str, package: str):
    done = imports(package, "ModuleNotFoundError(name, name=name)")
    assert done.stdout.split() == [name for name in EXTRAS if name != extra], done.stderr


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("mcp.server.streamable_http_manager", "ModuleNotFoundError(name, name=name)"),
        ("ai_platform.mcp.hub", "ModuleNotFoundError(name, name=name)"),
        ("xmlsec", "ImportError('libxml2 does not fit', name=name)"),
    ],
)
def test_what_is_there_and_broken_is_said(module: str, error: str):
    done = imports(module, error)
    assert done.returncode != 0
    assert module.rsplit(".", maxsplit=1)[-1] in done.stderr
