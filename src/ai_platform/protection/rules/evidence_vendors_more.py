"""Token formats that were compared with a page of somebody else: catalogues of integrations, and issues.

Not a family: no RULES here. Above: evidence.py. Below: evidence_record.py.
"""

from ai_platform.protection.rules.evidence_record import Evidence, other

_INTEGRATIONS = "https://github.com/NangoHQ/nango/blob/HEAD/packages/providers/providers.yaml"
_PLUGINS = "https://github.com/1Password/shell-plugins/blob/HEAD/plugins"
_NOTIFIERS = "https://github.com/caronc/apprise/blob/HEAD/apprise/plugins"
_YANDEX = "https://gitlab.com/gitlab-org/gitlab/-/issues/353039"

SECOND_HAND: dict[str, Evidence] = {
    "openai-api-key": other(f"{_PLUGINS}/openai/api_key.go", "sk- and letters and digits, 51 characters in all"),
    "cursor-key": other(_INTEGRATIONS, "key_ or crsr_ and 64 hexadecimal digits"),
    "perplexity-key": other(_INTEGRATIONS, "pplx- and letters and digits"),
    "xai-key": other(_INTEGRATIONS, "xai- and letters and digits"),
    "google-api-key": other(f"{_PLUGINS}/gemini/api_key.go", "39 characters; not the prefix"),
    "scaleway-access-key": other(f"{_PLUGINS}/scaleway/access_key.go", "20 capitals and digits"),
    "yandex-api-key": other(_YANDEX, "AQVN and 35 to 38 letters, digits, _ and -"),
    "yandex-iam-token": other(
        _YANDEX, "t1., or c1. for a cookie, base64url with padding, a dot, 86 characters of base64url with padding"
    ),
    "akamai-edgegrid-token": other(
        f"{_PLUGINS}/akamai/api_client_credentials.go", "38 small letters, digits and hyphens; not the prefix"
    ),
    "databricks-token": other(
        f"{_PLUGINS}/databricks/personal_access_token.go",
        "dapi, small letters, digits and hyphens, 38 characters in all",
    ),
    "heroku-api-key": other("https://gitlab.com/gitlab-org/gitlab/-/merge_requests/248117", "prefix HRKU-"),
    "neon-api-key": other(_INTEGRATIONS, "napi_ and 64 small letters and digits"),
    "pulumi-token": other(
        f"{_PLUGINS}/pulumi/pulumi_access_token.go", "pul-, small letters and digits, 44 characters in all"
    ),
    "render-api-key": other(_INTEGRATIONS, "rnd_ and letters and digits"),
    "vercel-token": other(_INTEGRATIONS, "vcp_ and letters and digits; not the other kinds"),
    "brex-token": other(_INTEGRATIONS, "bxt_ and letters and digits; an example with 36"),
    "easypost-key": other(_INTEGRATIONS, "EZAK or EZTK and letters and digits"),
    "razorpay-key": other(_INTEGRATIONS, "rzp_test_ or rzp_live_ and letters and digits"),
    "shippo-token": other(_INTEGRATIONS, "shippo_live_ or shippo_test_ and hexadecimal digits"),
    "facebook-page-token": other(_INTEGRATIONS, "EAA and letters and digits; an example with M after it"),
    "jumpcloud-key": other(_INTEGRATIONS, "an example: jca_ and 36 letters and digits"),
    "rootly-key": other(_INTEGRATIONS, "rootly_ and 64 hexadecimal digits"),
    "airtable-pat": other(_INTEGRATIONS, "an example: pat, letters and digits, a dot, letters and digits"),
    "groq-key": other(
        "https://github.com/mendableai/firecrawl/blob/HEAD/examples/web_data_extraction/web-data-extraction-using-llms.mdx",
        "prefix gsk_",
    ),
    "openai-project-key": other(
        "https://github.com/triggerdotdev/trigger.dev/blob/HEAD/docs/guides/frameworks/sequin.mdx", "prefix sk-proj-"
    ),
    "slack-webhook": other(
        "https://github.com/containrrr/shoutrrr/blob/HEAD/docs/guides/slack/index.md",
        "hooks.slack.com/services/, T and eight characters, /, B and eight, /, 24 characters",
    ),
    "google-chat-webhook": other(
        f"{_NOTIFIERS}/google_chat.py", "an example: the space, messages?key=AIza and 35 characters, &token="
    ),
    "lark-webhook": other(f"{_NOTIFIERS}/lark.py", "bot/v2/hook/ and letters, digits and hyphens"),
    "dingtalk-webhook": other(f"{_NOTIFIERS}/dingtalk.py", "robot/send?access_token= and letters and digits"),
    "wecom-webhook": other(f"{_NOTIFIERS}/wecombot.py", "cgi-bin/webhook/send?key= and the key"),
    "ifttt-webhook": other(f"{_NOTIFIERS}/ifttt.py", "trigger/, the event, /with/key/ and the key"),
    "smtp2go-key": other(f"{_NOTIFIERS}/smtp2go.py", "an example: api- and 32 hexadecimal capitals"),
    "readme-key": other(f"{_PLUGINS}/readme/api_key.go", "rdme_ and small letters and digits"),
    "statsig-key": other(_INTEGRATIONS, "console keys: console- and letters and digits"),
}
"""Rule -> a page that is not the vendor's."""
