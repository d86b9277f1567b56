"""Which formats were compared with a page that documents them: the rest was written from general knowledge of it.

A rule's `source` says where the format is defined; only a rule that stands here was checked against a page that was
read. Not a family: no RULES here. Above: tools/detectors.py. Below: the
evidence_* files, one for each group of families.
"""

from ai_platform.protection.rules.evidence_people import PEOPLE
from ai_platform.protection.rules.evidence_record import Evidence
from ai_platform.protection.rules.evidence_services import SERVICES
from ai_platform.protection.rules.evidence_vendors import VENDORS
from ai_platform.protection.rules.evidence_vendors_more import SECOND_HAND

_FIRST = {
    "github-token": Evidence(
        "https://github.blog/changelog/2021-03-31-authentication-token-format-updates-are-generally-available",
        vendor=True,
        told="prefixes ghp_ gho_ ghu_ ghs_ ghr_, characters, up to 255 characters",
    ),
    "stripe-secret-key": Evidence(
        "https://docs.stripe.com/api/authentication", vendor=True, told="prefixes sk_test_ and sk_live_"
    ),
    "shopify-token": Evidence(
        "https://shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing",
        vendor=True,
        told="prefixes shpat_ shpca_ shppa_, 38 characters in all",
    ),
    "sentry-user-token": Evidence(
        "https://docs.sentry.io/security-legal-pii/security/token-formats/",
        vendor=True,
        told="sntryu_ and 64 hexadecimal digits",
    ),
    "twilio-api-key": Evidence(
        "https://twilio.com/docs/glossary/what-is-a-sid",
        vendor=True,
        told="two letters and 32 hexadecimal digits",
    ),
    "slack-bot-token": Evidence(
        "https://docs.slack.dev/tools/node-slack-sdk/reference/web-api/interfaces/OAuthV2ExchangeArguments",
        vendor=True,
        told="prefix xoxb; not the rest",
    ),
    "slack-user-token": Evidence(
        "https://docs.slack.dev/tools/node-slack-sdk/reference/web-api/interfaces/OAuthV2ExchangeArguments",
        vendor=True,
        told="prefix xoxp; not the rest",
    ),
    "grafana-service-account-token": Evidence(
        "https://grafana.github.io/grafana-operator/docs/examples/serviceaccounts",
        vendor=True,
        told="an example: glsa_, 32 characters, an underscore, hexadecimal digits",
    ),
    "npm-token": Evidence(
        "https://gitlab.com/gitlab-org/gitlab/-/merge_requests/258832",
        vendor=False,
        told="npm_ and 36 letters and digits, compared with tokens that were issued in 2026",
    ),
    "digitalocean-token": Evidence(
        "https://gitlab.com/gitlab-org/security-products/analyzers/secrets/-/merge_requests/178",
        vendor=False,
        told="prefixes dop_v1_ doo_v1_ dor_v1_",
    ),
    "doppler-token": Evidence(
        "https://nango.dev/docs/api-integrations/doppler/connect", vendor=False, told="prefixes dp.pt. dp.st. dp.sa."
    ),
    "vault-token": Evidence(
        "https://ibm.github.io/japan-technology/onboarding-docs/vault/03_authentication/tokens",
        vendor=False,
        told="prefixes hvs. and hvb.",
    ),
    "aws-access-key-id": Evidence(
        "https://docs.rs/scratchstack-aws-principal/0.4.7/scratchstack_aws_principal/utils/enum.IamIdPrefix.html",
        vendor=False,
        told="prefixes AKIA ASIA ABIA ACCA",
    ),
    "telegram-bot-token": Evidence(
        "https://gist.github.com/tsurdilo/672fa1147ec34571edc206f5e1812a0f",
        vendor=False,
        told="an example: ten digits, a colon, AA and 33 characters",
    ),
    "pypi-token": Evidence("https://pypi.org/project/pypitoken", vendor=False, told="prefix pypi-; a macaroon follows"),
}
EVIDENCE = _FIRST | SECOND_HAND | SERVICES | VENDORS | PEOPLE
"""Rule -> the page. Everything else is unverified."""
