"""Pages that document credentials without a prefix (services_*), and some of the other tools. Above: evidence.py."""

from ai_platform.protection.rules.evidence_record import Evidence

_NANGO = "https://github.com/NangoHQ/nango/blob/master/packages/providers/providers.yaml"
"""Second hand: what a product that connects to these services tells its users of their keys."""

_PLUGINS = "https://github.com/1Password/shell-plugins/blob/main/plugins"
"""Second hand: what a password manager expects of the keys it keeps for command lines."""

SERVICES = {
    "algolia-credential": Evidence(_NANGO, vendor=False, told="an example: 32 hexadecimal digits"),
    "amplitude-credential": Evidence(_NANGO, vendor=False, told="a pattern for the API key: 32 hexadecimal digits"),
    "datadog-credential": Evidence(
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-DatadogApiKey.html",
        vendor=False,
        told="an API key is 32 hexadecimal digits; not the application key",
    ),
    "mailjet-credential": Evidence(_NANGO, vendor=False, told="a pattern for key and secret: 32 hexadecimal digits"),
    "mandrill-credential": Evidence(_NANGO, vendor=False, told="prefix md-; not the length"),
    "rapidapi-credential": Evidence(_NANGO, vendor=False, told="an example: 50 letters and digits"),
    "salesforce-credential": Evidence(
        _NANGO,
        vendor=False,
        told="a pattern for the consumer secret: 64 upper-case hexadecimal digits; consumer keys begin 3MVG9",
    ),
    "okta-credential": Evidence(
        "https://github.com/okta/okta-developer-docs/blob/master/packages/@okta/vuepress-site/docs/guides/oie-upgrade-api-sdk-to-oie-sdk/main/index.md",
        vendor=True,
        told="an example: 00 and 40 characters",
    ),
    "zendesk-credential": Evidence(
        "https://github.com/elevenlabs/elevenlabs-docs/blob/main/fern/conversational-ai/pages/guides/zendesk.mdx",
        vendor=False,
        told="an example: 40 letters of both cases and digits",
    ),
    "cloudflare-credential": Evidence(
        "https://developers.cloudflare.com/api/resources/alerting/subresources/destinations/subresources/pagerduty/methods/create",
        vendor=True,
        told="an example of a token: 40 letters and digits",
    ),
    "ably-credential": Evidence(
        "https://ably.com/docs/auth",
        vendor=True,
        told="app id, a full stop, key id, a colon, the secret; an example: 6, 6 and 43 characters",
    ),
    "kraken-credential": Evidence(
        "https://support.kraken.com/articles/360029054811-what-is-the-authentication-algorithm-for-private-endpoints-",
        vendor=True,
        told="an example of a private key: 88 characters of base64",
    ),
    "splunk-credential": Evidence(
        "https://help.splunk.com/splunk-enterprise/get-data-in/collect-http-event-data/format-events-for-http-event-collector",
        vendor=True,
        told="a token of the HTTP event collector is a GUID",
    ),
    "pagerduty-credential": Evidence(
        "https://support.pagerduty.com/docs/using-the-api",
        vendor=True,
        told="REST API keys are strings of 20 characters",
    ),
    "sparkpost-credential": Evidence(
        "https://developers.sparkpost.com/api/", vendor=True, told="an example: 40 hexadecimal digits"
    ),
    "deepl-credential": Evidence(
        "https://developers.deepl.com/docs/getting-started/auth",
        vendor=True,
        told="an example: a UUID; keys of the free API end in :fx",
    ),
    "binance-credential": Evidence(
        "https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md",
        vendor=True,
        told="an example of key and secret: 64 letters and digits each",
    ),
    "bitmex-credential": Evidence(
        "https://github.com/BitMEX/api-connectors/blob/master/official-http/vba/hexhash.vbs",
        vendor=True,
        told="an example: a key of 24 characters, a secret of 48",
    ),
    "heroku-uuid-credential": Evidence(
        "https://github.com/heroku/platform-api/blob/main/README.md", vendor=True, told="an example of a token: a UUID"
    ),
    "akamai-credential": Evidence(
        "https://github.com/akamai/AkamaiOPEN-edgegrid-python/blob/master/README.md",
        vendor=True,
        told="an example: tokens begin akab-, two parts follow (26 and 6 characters); a secret is 43 characters of base64 and =",
    ),
    "discord-credential": Evidence(
        "https://github.com/discord/discord-api-docs/blob/main/developers/topics/oauth2.mdx",
        vendor=True,
        told="examples of OAuth tokens: 30 to 32 letters and digits; not the client secret",
    ),
    "messagebird-credential": Evidence(
        "https://github.com/messagebird/python-rest-api/blob/master/examples/balance.py",
        vendor=True,
        told="an example: test_ and 25 letters and digits",
    ),
    "reddit-credential": Evidence(
        "https://github.com/praw-dev/praw/blob/main/docs/getting_started/authentication.rst",
        vendor=False,
        told="an example: a client id of 14 characters, a secret of 27",
    ),
    "vultr-credential": Evidence(
        "https://github.com/vultr/govultr/blob/master/inference_test.go",
        vendor=True,
        told="an example: 36 upper-case letters and digits",
    ),
    "wakatime-credential": Evidence(
        "https://github.com/wakatime/wakatime-cli/blob/develop/cmd/params/params.go",
        vendor=True,
        told="its check: waka_ or nothing, a UUID of version 4",
    ),
    "segment-credential": Evidence(
        "https://github.com/segmentio/segment-docs/blob/develop/src/connections/sources/catalog/libraries/server/http-api/index.md",
        vendor=True,
        told="an example of a write key: 32 letters and digits",
    ),
    "maxmind-credential": Evidence(
        "https://github.com/maxmind/dev-site/blob/main/content/geoip/release-notes/2023.md",
        vendor=True,
        told="40 letters, digits and underscores, a prefix of six, suffix _mmk",
    ),
    "azure-devops-credential": Evidence(
        "https://gist.github.com/kkamegawa/5a80fdbde25a890943caa61f46aa6cc7",
        vendor=False,
        told="tokens had 52 characters until they got 84",
    ),
    "azure-openai-credential": Evidence(
        "https://learn.microsoft.com/en-us/azure/search/search-security-api-keys",
        vendor=True,
        told="a key of the search service is 52 letters and digits; not the other services",
    ),
    "wandb-legacy-credential": Evidence(
        "https://docs.wandb.ai/support/models/articles/why-does-my-api-key-fail-with-must-be-40-characters",
        vendor=True,
        told="older keys have 40 characters, newer about 86; not which characters",
    ),
    "mailchimp-legacy-credential": Evidence(
        "https://github.com/andrew-koster-/mailchimp-dc",
        vendor=False,
        told="32 characters, a hyphen, the data centre (us10)",
    ),
    "postmark-credential": Evidence(
        "https://gobackup.github.io/configuration/notifiers/postmark", vendor=False, told="the shape of a UUID"
    ),
    "plaid-credential": Evidence(
        "https://github.com/plaid/plaid-openapi/blob/master/2020-09-14.yml",
        vendor=True,
        told="an example of a client id: 24 hexadecimal digits; not the secret",
    ),
    "kucoin-credential": Evidence(
        "https://github.com/Kucoin/kucoin-api-docs/blob/master/source/localizable/index.html.md",
        vendor=True,
        told="an example of an API key: 24 hexadecimal digits",
    ),
    "consul-credential": Evidence(
        "https://developer.hashicorp.com/consul/api-docs/v1.10.x/acl/tokens",
        vendor=True,
        told="a token's SecretID is a UUID",
    ),
    "new-relic-legacy-credential": Evidence(
        "https://newrelic.com/blog/how-to-relic/managing-new-relic-keys-with-nerdgraph",
        vendor=True,
        told="a licence key has 40 characters; not the other keys",
    ),
    "vonage-credential": Evidence(
        "https://developer.vonage.com/account/code-snippets/create-a-secret",
        vendor=True,
        told="secrets have 8 to 25 characters with a lower-case letter, an upper-case letter and a digit",
    ),
    "scaleway-secret-credential": Evidence(
        "https://secretspec.dev/providers/scaleway/",
        vendor=False,
        told="a placeholder for SCW_SECRET_KEY: the shape of a UUID",
    ),
    "opsgenie-credential": Evidence(
        "https://thwack.solarwinds.com/kb/articles/227-opsgenie-api-https-monitor",
        vendor=False,
        told="an example: hexadecimal digits in the groups of a UUID",
    ),
    "bugsnag-credential": Evidence(
        "https://github.com/bugsnag/bugsnag-js/blob/next/packages/core/client.js",
        vendor=True,
        told="its check: 32 hexadecimal digits",
    ),
    "meraki-credential": Evidence(
        "https://github.com/meraki/dashboard-api-python/blob/main/examples/apiData2CSV_v1.py",
        vendor=True,
        told="an example: 40 hexadecimal digits",
    ),
    "mixpanel-credential": Evidence(
        "https://github.com/mixpanel/docs/blob/main/docs/data-structure/concepts.mdx",
        vendor=True,
        told="an example of a project token: 32 hexadecimal digits",
    ),
    "pusher-credential": Evidence(
        "https://github.com/pusher/docs/blob/main/docs/channels/library_auth_reference/auth-signatures.md",
        vendor=True,
        told="an example of key and secret: 20 hexadecimal digits each",
    ),
    "pubnub-credential": Evidence(
        "https://github.com/pubnub/python/blob/master/examples/native_threads/http/app.py",
        vendor=True,
        told="examples: pub-c- or sub-c- and a UUID; not the secret key",
    ),
    "codecov-credential": Evidence(
        "https://github.com/codecov/codecov-cli/blob/main/tests/helpers/test_upload_sender.py",
        vendor=True,
        told="an example: a UUID",
    ),
    "looker-credential": Evidence(
        "https://github.com/looker-open-source/sdk-codegen/blob/main/packages/sdk/src/4.0/methods.ts",
        vendor=True,
        told="an example of a secret: 24 letters of both cases and digits",
    ),
    "trello-credential": Evidence(
        "https://docs.raynet.de/raynet-one/datahub/14.0/connectors/en/at_prerequisites.htm",
        vendor=False,
        told="a key is 32 letters and digits; not the token",
    ),
    "plivo-credential": Evidence(
        "https://github.com/plivo/plivo-node/blob/master/test/accounts.js",
        vendor=True,
        told="an example of an auth ID: MA and 18 upper-case letters and digits; not the token",
    ),
    "rollbar-credential": Evidence(
        "https://github.com/rollbar/rollbar.js/blob/master/examples/test.html",
        vendor=True,
        told="an example of an access token: 32 hexadecimal digits",
    ),
    "confluent-credential": Evidence(
        "https://github.com/confluentinc/terraform-provider-confluent/blob/master/docs/resources/confluent_api_key.md",
        vendor=True,
        told="examples of key ids: 16 upper-case letters and digits; not the secret",
    ),
    "tumblr-credential": Evidence(
        "https://github.com/tumblr/docs/blob/master/api.md", vendor=True, told="an example: 50 letters and digits"
    ),
    "twitter-credential": Evidence(
        "https://github.com/tweepy/tweepy/blob/master/cassettes/testratelimitstatus.json",
        vendor=False,
        told="an example of an access token: 19 digits, a hyphen, 30 letters and digits",
    ),
    "openweather-credential": Evidence(
        "https://blog.csdn.net/love_moon821/article/details/91046269",
        vendor=False,
        told="an example: 32 hexadecimal digits",
    ),
    "gitea-credential": Evidence(
        "https://www.cnblogs.com/xupeixuan/p/17125039.html", vendor=False, told="an example: 40 hexadecimal digits"
    ),
    "circleci-legacy-credential": Evidence(
        f"{_PLUGINS}/circleci/personal_api_token.go", vendor=False, told="40 lower-case letters and digits"
    ),
    "fastly-credential": Evidence(f"{_PLUGINS}/fastly/api_token.go", vendor=False, told="32 letters and digits"),
    "hetzner-credential": Evidence(f"{_PLUGINS}/hcloud/api_token.go", vendor=False, told="64 letters and digits"),
    "linode-credential": Evidence(
        f"{_PLUGINS}/linode/personal_access_token.go", vendor=False, told="64 lower-case letters and digits"
    ),
    "ngrok-legacy-credential": Evidence(f"{_PLUGINS}/ngrok/credentials.go", vendor=False, told="49 letters and digits"),
    "snyk-credential": Evidence(
        f"{_PLUGINS}/snyk/api_token.go",
        vendor=False,
        told="36 characters in lower case; that they are a UUID is not said",
    ),
    "sourcegraph-legacy-credential": Evidence(
        f"{_PLUGINS}/sourcegraph/access_token.go", vendor=False, told="40 lower-case letters and digits"
    ),
    "vercel-legacy-credential": Evidence(f"{_PLUGINS}/vercel/api_token.go", vendor=False, told="24 letters and digits"),
    "twilio-auth-credential": Evidence(
        f"{_PLUGINS}/twilio/api_key.go",
        vendor=False,
        told="a key is SK and 32 characters, its secret 32 letters of both cases and digits; not the auth token",
    ),
    "sentry-legacy-credential": Evidence(
        f"{_PLUGINS}/sentry/auth_token.go", vendor=False, told="64 lower-case letters and digits"
    ),
    "settlemint-token": Evidence(
        "https://github.com/settlemint/sdk/blob/main/sdk/ipfs/src/ipfs.test.ts",
        vendor=True,
        told="prefix sm_aat_; not the length",
    ),
}
