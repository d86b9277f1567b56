"""Settings of the policy room."""

from pathlib import Path
from typing import Annotated

import msgspec


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True):
    """file: the policy file; None = the first that exists of `.claude/policies/enterprise.yaml` in the working
    directory and `policies/enterprise.yaml` in the data folder, else the built-in policy.
    poll_seconds: how often the file is looked at for a change.
    """

    file: Path | None = None
    poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 1.0
