"""Token formats that were compared with a page of somebody else: catalogues of integrations, and issues.

Not a family: no RULES here. Above: evidence.py. Below: evidence_record.py.
"""

from ai_platform.protection.rules.evidence_record import Evidence, other

_INTEGRATIONS = "https://github.com/NangoHQ/nango/blob/HEAD/packages/providers/providers.yaml"
_PLUGINS = "https://github.com/1Password/shell-plugins/blob/HEAD/plugins"
_NOTIFIERS = "https://github.com/caronc/apprise/blob/HEAD/apprise/plugins"
_YANDEX = "https://gitlab.com/gitlab-org/gitlab/-/issues/353039"
_GOOGLE = "https://github.com/ory/docs/blob/HEAD/docs/polis/directory-sync/api-reference.mdx"

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
    "octopus-deploy-key": other(f"{_PLUGINS}/octopus/api_key.go", "API-, capitals and digits"),
    "apify-token": other(_INTEGRATIONS, "apify_api_ and letters and digits"),
    "mailersend-token": other(
        "https://github.com/caronc/apprise/blob/HEAD/tests/test_plugin_mailersend.py",
        "an example: mlsn. and hexadecimal digits; shorter than the rule wants",
    ),
    "replicate-token": other(
        "https://github.com/huggingface/huggingface_hub/blob/HEAD/docs/source/en/guides/inference.md", "prefix r8_"
    ),
    "onepassword-service-token": other(
        "https://www.pulumi.com/docs/esc/providers/1password-secrets", "an example with the prefix ops_"
    ),
    "stripe-webhook-secret": other(
        "https://trigger.dev/docs/management/webhooks/set-secret.md", "Stripe returns a secret with the prefix whsec_"
    ),
    "google-oauth-client-secret": other(
        "https://github.com/appwrite/appwrite/blob/HEAD/src/Appwrite/Utopia/Response/Model/OAuth2Google.php",
        "an example: GOCSPX- and 28 letters and digits",
    ),
    "google-oauth-token": other(_GOOGLE, "an example that begins with ya29.a0"),
    "google-refresh-token": other(_GOOGLE, "an example that begins with 1//03"),
    "slack-app-token": other(
        "https://github.com/superfly/docs/blob/HEAD/blueprints/deploy-openclaw.html.md", "prefix xapp-"
    ),
    "figma-token": other(
        "https://github.com/GLips/Figma-Context-MCP/blob/HEAD/src/tests/telemetry-redaction.test.ts", "prefix figd_"
    ),
    "aiven-password": other(
        "https://github.com/UpCloudLtd/upcloud-go-api/blob/HEAD/upcloud/service/fixtures/clonemanageddatabase.yaml",
        "an example: AVNS_ and 19 characters",
    ),
    "aws-appsync-key": other(
        "https://alchemy.run/providers/aws/appsync/apikeyresource", "the key's ID is the secret, with the prefix da2-"
    ),
    "clickup-token": other(
        "https://rdrr.io/github/psolymos/clickrup/man/cu-pat.html",
        "an example: pk_, seven digits, _, 32 capitals and digits",
    ),
    "mailchimp-key": other(
        "https://github.com/andrew-koster-/mailchimp-dc", "an example: 32 zeros, a hyphen, the data centre us10"
    ),
    "n8n-key": other(
        "https://github.com/KomarovAI/n8n-scraper-docker/blob/HEAD/docs/N8N-API-KEY-SETUP.md", "prefix n8n_api_"
    ),
    "databricks-oauth-secret": other(
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-DatabricksSPSecret.md",
        "dose and the secret value",
    ),
    "teams-webhook": other(
        "https://containrrr.dev/shoutrrr/0.7/services/teams/",
        "the organisation, .webhook.office.com/webhookb2/, group@tenant, /IncomingWebhook/, two more parts",
    ),
    "facebook-app-token": other(
        "https://www.devils-heaven.com/facebook-access-tokens/", "the app's ID, a vertical bar, the app's secret"
    ),
    "midtrans-key": other("https://glama.ai/mcp/servers/will702/midtrans-kit", "prefix SB-Mid-server- in the sandbox"),
    "salesforce-token": other(
        "https://gist.github.com/dieffrei/8d95709f6d9f8dc93a7d19faaa5cd2ec",
        "an example: 00D and twelve characters, an exclamation mark, 96 characters",
    ),
    "hubspot-token": other(
        "https://github.com/BadGuyFranco/cofounder/blob/HEAD/connectors/hubspot/SETUP.md", "prefix pat-"
    ),
    "linear-key": other("https://docs.sim.ai/integrations/linear-service-account.md", "prefix lin_api_"),
    "typeform-token": other("https://skills.sh/vm0-ai/vm0-skills/typeform", "tfp_ and 40 hexadecimal digits"),
    "digitalocean-spaces-key": other(
        "https://kestra.io/plugins/plugin-digitalocean/digitalocean-spaces-key/"
        "io.kestra.plugin.digitalocean.spaces.key.get",
        "an example: DO00 and 16 capitals",
    ),
}
"""Rule -> a page that is not the vendor's."""
