"""Codes by pyotp, security keys by webauthn: the one door to what needs the extra `mfa`. Satisfies `kinds.Factors`."""

import hmac
import json

import webauthn
from pyotp import random_base32
from pyotp.totp import TOTP
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Unauthenticated
from ai_platform.sso.breakglass.kinds import SecurityKey, Site

STEP = 30
WINDOW = (0, -1, 1)
"""Clocks may differ by half a minute and more: the code before and the code after count too."""

LONGEST = 16 * 1024
_BROKEN = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, IndexError)
_PREFERRED = UserVerificationRequirement.PREFERRED


def new_secret() -> str:
    return random_base32(32)


def uri(secret: str, *, name: str, issuer: str) -> str:
    return TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def step_of(secret: str, code: str, *, now: float) -> int | None:
    digits = "".join(code.split())
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return None
    totp, current = TOTP(secret), int(now) // STEP
    found = None
    for offset in WINDOW:  # all of them, whichever fits, so that the time tells nothing
        if hmac.compare_digest(totp.generate_otp(current + offset), digits):
            found = current + offset
    return found


def registration(site: Site, *, admin: str, name: str, challenge: bytes, known: list[bytes]) -> str:
    options = webauthn.generate_registration_options(
        rp_id=site.host,
        rp_name="ai-platform",
        user_id=admin.encode(),
        user_name=name,
        challenge=challenge,
        exclude_credentials=_descriptors(known),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=_PREFERRED
        ),
    )
    return webauthn.options_to_json(options)


def registered(site: Site, *, answer: str, challenge: bytes) -> SecurityKey:
    """Raises Unauthenticated."""
    try:
        credential = parse_registration_credential_json(_bounded(answer))
        _check_frame(credential.response.client_data_json)
        found = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=False,
        )
    except _BROKEN as error:
        raise _refused() from error
    return SecurityKey(found.credential_id, found.credential_public_key, found.sign_count)


def authentication(site: Site, *, challenge: bytes, known: list[bytes]) -> str:
    options = webauthn.generate_authentication_options(
        rp_id=site.host, challenge=challenge, allow_credentials=_descriptors(known), user_verification=_PREFERRED
    )
    return webauthn.options_to_json(options)


def credential_in(answer: str) -> bytes:
    try:
        return parse_authentication_credential_json(_bounded(answer)).raw_id
    except _BROKEN as error:
        raise _refused() from error


def authenticated(site: Site, *, answer: str, challenge: bytes, key: SecurityKey) -> int:
    """Raises Unauthenticated: another site's, another challenge's, another key's, or a count that did not grow."""
    try:
        credential = parse_authentication_credential_json(_bounded(answer))
        _check_frame(credential.response.client_data_json)
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=key.public_key,
            credential_current_sign_count=key.sign_count,
            require_user_verification=False,
        )
    except _BROKEN as error:
        raise _refused() from error
    if found.credential_id != key.credential_id:
        raise _refused()
    return found.new_sign_count


def _descriptors(known: list[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=each) for each in known]


def _check_frame(client_data: bytes) -> None:
    """Another site may show no page of ours, so an answer that was made in a frame is not ours."""
    if parse_client_data_json(client_data).cross_origin:
        raise ValueError("made in a frame of another site")


def _bounded(answer: str) -> str:
    if len(answer) > LONGEST:
        raise ValueError("too long")
    json.loads(answer)
    return answer


def _refused() -> Unauthenticated:
    message = "The security key's answer cannot be used. Begin again, with the key that was registered for this name."
    return Unauthenticated(Refusal.UNAUTHENTICATED, message, rule="security key")
