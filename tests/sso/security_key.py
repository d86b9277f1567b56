"""A security key in software (soft-fido2) that answers as a browser on a given site would."""

import json
from typing import Any

from soft_fido2 import Fido2Authenticator, KeyPair


class SoftKey:
    def __init__(self, origin: str, *, counter: int = 1) -> None:
        self.origin = origin
        self.device = Fido2Authenticator(keyPair=KeyPair.generate_ecdsa(), counter=counter)

    def create(self, options: str, **changes: Any) -> str:
        """The answer to a registration. changes: of the options, as the page of an attacker has them."""
        return self._answer(self.device.credential_create(self._asked(options, changes)))

    def get(self, options: str, *, up: bool = True, **changes: Any) -> str:
        return self._answer(self.device.credential_request(self._asked(options, changes), up=up))

    def _asked(self, options: str, changes: dict[str, Any]) -> dict[str, Any]:
        asked = json.loads(options) | {"origin": self.origin}
        asked["challenge"] += "=" * (-len(asked["challenge"]) % 4)
        return asked | changes

    def _answer(self, made: dict[str, Any]) -> str:
        response = {name: value.rstrip("=") for name, value in made["response"].items() if isinstance(value, str)}
        raw = made["rawId"].rstrip("=")
        return json.dumps({"id": raw, "rawId": raw, "type": "public-key", "response": response})
