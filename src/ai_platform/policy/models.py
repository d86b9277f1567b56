"""Which models a caller may use: the lists under `models`, then the credential's own globs (a key's scope).

Above: policy. Below: access.
"""

from ai_platform.domain.principal import Principal
from ai_platform.policy.access import AccessLists, Verdict
from ai_platform.policy.globs import LONGEST_NAME, key_scope, plain_model
from ai_platform.policy.schema import AccessSection

_UNRESTRICTED = Verdict(True, "no model restriction")


class ModelAccess:
    def __init__(self, section: AccessSection) -> None:
        self._lists = AccessLists("models", section)
        self.restricts = self._lists.restricts

    def judge(self, principal: Principal, model: str | None) -> Verdict:
        """Whether the caller may use the model. None (the call names none) passes only where nothing is restricted."""
        if not self.restricts and not principal.models:
            return _UNRESTRICTED
        if model is None or len(model) > LONGEST_NAME:
            return Verdict(False, "models", final=True)
        plain = plain_model(model)
        if principal.models and not (scope := key_scope(principal.models)).match(plain):
            return Verdict(False, "key scope", str(scope), final=True)
        if not self.restricts:
            return Verdict(True, "key scope")
        return self._lists.judge(principal, plain)
