"""Token formats that were compared with a page of the vendor: what it says, not what the rule adds to it.

Not a family: no RULES here. Above: evidence.py. Below: evidence_record.py.
"""

from ai_platform.protection.rules.evidence_record import Evidence, on_github, own

_AZURE = ("microsoft/security-utilities", "src/Microsoft.Security.Utilities.Core/IdentifiableMetadata.cs")
"""Where Microsoft names the four characters that mark a key of each service."""

VENDORS: dict[str, Evidence] = {
    "langsmith-key": on_github(
        "langchain-ai/langsmith-docs",
        "docs/administration/concepts/index.mdx",
        "prefixes lsv2_pt_ and lsv2_sk_; ls__ until October 2024",
    ),
    "langfuse-key": on_github(
        "langfuse/langfuse-python", "langfuse/api/projects/client.py", "a secret key starts with sk-lf-"
    ),
    "runpod-key": on_github("runpod/docs", "public-endpoints/ai-coding-tools.mdx", "prefix rpa_"),
    "browserbase-key": on_github(
        "browserbase/stagehand", "packages/docs/v4/first-steps/quickstart.mdx", "prefix bb_live_"
    ),
    "tavily-key": on_github("tavily-ai/tavily-python", "README.md", "prefix tvly-"),
    "firecrawl-key": on_github("mendableai/firecrawl", "README.md", "prefix fc-"),
    "e2b-key": on_github("e2b-dev/E2B", "README.md", "prefix e2b_"),
    "anthropic-api-key": on_github(
        "anthropics/anthropic-cookbook", "claude_code_sdk/.env.example", "prefix sk-ant-api03-; elsewhere sk-ant-admin"
    ),
    "llamaindex-key": on_github(
        "run-llama/llama_cloud_services", "examples/parse/agents/demo_simple_openai_agent.ipynb", "prefix llx-"
    ),
    "huggingface-org-token": on_github(
        "huggingface/huggingface_hub", "src/huggingface_hub/_login.py", "prefix api_org"
    ),
    "vercel-blob-token": on_github(
        "vercel/storage",
        "packages/blob/src/api.node.test.ts",
        "vercel_blob_rw_, the store, _, in the tests 30 letters and digits",
    ),
    "supabase-secret-key": own("https://www.supabase.com/docs/guides/getting-started/api-keys", "prefix sb_secret_"),
    "stytch-secret": on_github(
        "stytchauth/stytch-python", "README.md", "an example: secret-live- and 36 characters of base64url"
    ),
    "mongodb-atlas-service-account": on_github(
        "mongodb/mongodb-atlas-cli", "tools/internal/specs/spec.yaml", "prefix mdb_sa_sk_"
    ),
    "brevo-key": on_github("getbrevo/brevo-node", "README.md", "prefix xkeysib-"),
    "discord-bot-token": on_github(
        "discord/discord-api-docs",
        "developers/reference.mdx",
        "an example: M and 23 characters, a dot, six, a dot, 27",
    ),
    "discord-webhook": on_github(
        "discord/discord-api-docs", "developers/topics/oauth2.mdx", "an example: 18 digits, a slash, 68 characters"
    ),
    "mapbox-public-token": on_github(
        "mapbox/mapbox-sdk-js", "test/bundle.test.js", "an example: pk., JSON in base64url, a dot, 22 characters"
    ),
    "newrelic-key": on_github("newrelic/newrelic-cli", "docs/GETTING_STARTED.md", "user keys: prefix NRAK"),
    "launchdarkly-key": on_github("launchdarkly/ldcli", "README.md", "a masked example: api- and a UUID"),
    "terraform-cloud-token": on_github(
        "hashicorp/terraform-provider-tfe", "internal/client/config_test.go", "something, .atlasv1., something"
    ),
    "nvidia-key": on_github(
        "NVIDIA/GenerativeAIExamples", "RAG/examples/advanced_rag/multi_turn_rag/README.md", "prefix nvapi-"
    ),
    "postman-key": on_github("postmanlabs/postman-mcp-server", "src/telemetry/client.ts", "prefix PMAK-"),
    "vault-legacy-token": own(
        "https://developer.hashicorp.com/vault/docs/upgrading/upgrade-to-1.0.0",
        "service tokens start with s., batch tokens with b.",
    ),
    "secret-token-uri": own(
        "https://www.rfc-editor.org/info/rfc8959/", "registers the scheme secret-token for bearer tokens"
    ),
    "azure-annotated-key": on_github(*_AZURE, "signatures APIM, ACDb, +ABa and +ASt; not the lengths"),
    "azure-messaging-key": on_github(*_AZURE, "signatures AIoT, +ASb, +AEh and +ARm; not the lengths"),
    "azure-search-key": on_github(*_AZURE, "signature AzSe; not the length"),
    "azure-function-key": on_github(*_AZURE, "signature AzFu; not the length"),
    "azure-registry-key": on_github(*_AZURE, "signature +ACR; not the length"),
    "svix-token": on_github(
        "svix/svix-webhooks", "ruby/spec/webmock_tests_spec.rb", "prefix testsk_ and a region such as .eu at the end"
    ),
    "resend-key": on_github("resend/resend-node", "readme.md", "prefix re_"),
    "elevenlabs-key": on_github("elevenlabs/elevenlabs-python", "src/elevenlabs/speech_engine/server.py", "prefix sk_"),
    "pinecone-key": on_github("pinecone-io/pinecone-python-client", "pinecone/admin/api_keys.py", "prefix pcsk_"),
    "huggingface-token": on_github("huggingface/huggingface_hub", "docs/source/en/guides/cli.md", "prefix hf_"),
    "matrix-token": on_github(
        "element-hq/synapse",
        "synapse/handlers/auth.py",
        "syt_ (syr_ to refresh), the local part in base64 without padding, _, 20 letters, _, a checksum in base 62 of"
        " at least six characters",
    ),
    "matrix-authentication-token": on_github(
        "element-hq/matrix-authentication-service",
        "crates/data-model/src/tokens.rs",
        "mat, mar, mct, mcr or mpt, _, 30 letters and digits, _, a checksum of six",
    ),
    "polar-token": on_github(
        "polarsource/polar",
        "server/polar/kit/crypto.py",
        "after the prefix 37 letters and digits and a checksum of six; the prefixes stand beside their services",
    ),
    "calcom-key": on_github(
        "calcom/docs",
        "pages/enterprise-features/api/authentication.mdoc",
        "prefix cal_ in test mode, cal_live_ in live mode",
    ),
    "xendit-key": on_github(
        "xendit/xendit-python", "docs/Configuration.md", "an example: xnd_development_ and 32 letters and digits"
    ),
    "aws-bedrock-short-term-key": on_github(
        "aws/aws-bedrock-token-generator-python",
        "README.md",
        "bedrock-api-key- and a signed address in base64",
    ),
    "azure-storage-key": own(
        "https://learn.microsoft.com/en-us/purview/sit-defn-azure-storage-account-key",
        "AccountKey=, 86 letters, digits, / and +, two equals signs",
    ),
    "azure-devops-pat": own(
        "https://learn.microsoft.com/zh-cn/purview/sit-defn-azure-devops-personal-access-token",
        "84 letters and digits with AZDO from the 77th on",
    ),
    "axiom-token": on_github(
        "axiomhq/docs",
        "content/docs/(documentation)/console/intelligence/agent-created-orgs.mdx",
        "an example: xaat- and a UUID; personal tokens start with xapt-",
    ),
    "checkly-key": on_github(
        "checkly/docs.checklyhq.com", "site/content/docs/terraform-provider/_index.md", "prefix cu_"
    ),
    "posthog-key": on_github("PostHog/posthog-js", "examples/example-node/README.md", "prefix phx_"),
    "growthbook-key": on_github(
        "growthbook/growthbook",
        "packages/back-end/src/models/ApiKeyModel.ts",
        "secret_user_ or secret_ and the role",
    ),
    "flagsmith-key": on_github("Flagsmith/flagsmith", "api/environments/api_keys.py", "prefix ser."),
    "unleash-token": on_github(
        "Unleash/unleash",
        "src/lib/services/api-token-service.ts",
        "project, colon, environment, dot, 28 bytes in hexadecimal",
    ),
    "devcycle-key": on_github(
        "DevCycleHQ/devcycle-docs",
        "docs/sdk/mock-testing.md",
        "prefix dvc_server; elsewhere dvc_client_ and dvc_mobile_",
    ),
    "buildkite-agent-token": on_github(
        "buildkite/docs",
        "pages/platform/security/tokens.md",
        "prefixes bkua_ bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_ bkps_; masked examples with 53 to 333 characters after it",
    ),
    "buildkite-token": on_github(
        "buildkite/docs", "pages/platform/security/tokens.md", "bkua_ and, in a masked example, 53 characters"
    ),
    "socket-token": on_github(
        "SocketDev/socket-cli",
        "packages/cli/src/commands/audit-log/audit-fixture.json",
        "prefix sktsec_ and the ending _api",
    ),
    "percy-token": on_github(
        "percy/cli", "packages/cli-doctor/README.md", "prefixes web_ auto_ app_ ss_ vmw_ res_; not the rest"
    ),
    "inngest-key": on_github(
        "inngest/inngest-js", "packages/inngest/src/helpers/strings.ts", "signkey-, a word for the environment, -"
    ),
    "trigger-dev-key": on_github(
        "triggerdotdev/trigger.dev",
        "docs/apikeys.mdx",
        "prefixes tr_dev_ tr_prod_ tr_stg_ tr_preview_, for newer keys with sk_ after it",
    ),
    "flyio-token": on_github("superfly/macaroon", "format.go", "labels fm1r, fm1a and fm2 before the macaroon"),
    "supabase-token": on_github(
        "supabase/cli",
        "apps/cli-go/internal/utils/access_token.go",
        "sbp_ or sbp_oauth_ and 40 hexadecimal digits",
    ),
    "prefect-key": on_github(
        "PrefectHQ/prefect",
        "docs/v3/how-to-guides/cloud/troubleshoot-cloud.mdx",
        "prefixes pnu_ and pnb_; a masked example with 36 characters after it",
    ),
    "tailscale-key": own(
        "https://tailscale.com/docs/reference/key-prefixes.md",
        "tskey-, the type (api, auth, client, scim, webhook), an identifier ending in CNTRL, -, letters and digits",
    ),
    "openshift-token": on_github(
        "openshift/oauth-server", "pkg/server/crypto/sha256.go", "sha256~ and a SHA-256 in base64url without padding"
    ),
    "cockroachdb-api-key": on_github(
        "cockroachdb/docs", "src/current/cockroachcloud/ccloud-reference.md", "prefix CCDB1_"
    ),
    "dynatrace-token": own(
        "https://docs.dynatrace.com/managed/dynatrace-api/basics/dynatrace-api-authentication",
        "a prefix such as dt0s01, a dot, 24 characters, a dot, 64 characters",
    ),
    "cloudflare-token": own(
        "https://developers.cloudflare.com/fundamentals/api/get-started/token-formats",
        "cfk_, cfut_ or cfat_, 40 characters and a checksum",
    ),
    "paddle-key": own(
        "https://developer.paddle.com/api-reference/about/authentication/",
        "an example: pdl_live_apikey_, 26 characters, _, 22, _, 3",
    ),
    "plaid-token": on_github("plaid/plaid-openapi", "2020-09-14.yml", "examples: access-sandbox- and a UUID"),
    "mollie-key": on_github(
        "mollie/mollie-api-python",
        "mollie/api/client.py",
        "prefix test_ or live_; the README's example has 30 letters and digits after it",
    ),
    "lob-key": on_github(
        "lob/lob-openapi", "dist/lob-api-bundled.yml", "test_ or live_; an example with 35 hexadecimal digits"
    ),
    "square-token": on_github("square/square-python-sdk", "reference.md", "an example: sq0csp- and 44 characters"),
    "zuplo-key": on_github(
        "zuplo/docs",
        "docs/articles/api-key-api.mdx",
        "zpka_, random characters, _, a checksum; an example with 32 and 8 characters",
    ),
    "netbird-token": on_github(
        "netbirdio/netbird",
        "management/server/types/personal_access_token.go",
        "nbp_, 30 random characters and a checksum of six in base 62",
    ),
    "ory-token": on_github(
        "ory/docs",
        "docs/concepts/personal-access-token.mdx",
        "prefixes ory_apikey_, ory_pat_ and ory_wak_; on other pages ory_at_ and ory_rt_",
    ),
    "bitwarden-access-token": on_github(
        "bitwarden/sdk-sm",
        "crates/fake-server/README.md",
        "an example: 0., a UUID, a dot, 30 letters and digits, a colon, 16 bytes in base64",
    ),
    "astra-token": on_github("datastax/astrapy", "README.md", "prefix AstraCS:"),
    "xata-key": on_github("xataio/client-ts", "packages/cli/src/commands/init/index.ts", "prefix xau_"),
    "unkey-key": on_github(
        "unkeyed/unkey",
        "docs/engineering/architecture/rfcs/0002-github-secret-scanning.mdx",
        "root keys: prefix unkey_",
    ),
    "appwrite-key": on_github(
        "appwrite/appwrite",
        "src/Appwrite/Platform/Modules/Project/Http/Project/Keys/Create.php",
        "standard_ and 128 bytes in hexadecimal",
    ),
    "tinybird-token": on_github(
        "tinybirdco/mcp-tinybird",
        "src/mcp_tinybird/server.py",
        "an example: p., JSON beginning with u in base64, a dot, 43 characters",
    ),
    "modal-token": on_github("modal-labs/modal-client", "go/README.md", "examples: ak- and as- and 22 characters"),
    "maxmind-key": on_github("maxmind/dev-site", "content/geoip/release-notes/2023.md", "ending _mmk"),
    "sentry-org-token": on_github(
        "getsentry/rfcs",
        "text/0091-ci-upload-tokens.md",
        "sntrys_, facts in base64, _, a secret; an example with 43 characters",
    ),
    "notion-token": on_github("makenotion/notion-mcp-server", "README.md", "prefix ntn_"),
    "notion-legacy-token": on_github("makenotion/notion-sdk-js", "CLAUDE.md", "prefix secret_"),
    "honeycomb-key": on_github(
        "honeycombio/libhoney-go", "libhoney.go", "classic ingest keys: hc, a letter, ic_, small letters and digits"
    ),
    "google-auth-key": own(
        "https://discuss.ai.google.dev/t/gemini-api-key-start-from-aq/171575",
        "AI Studio issues only authentication keys, which start with AQ.; not the length",
    ),
    "packagist-token": on_github(
        "packagist/private-packagist-docs",
        "docs/composer-authentication.md",
        "packagist_ and ort_, out_, uut_ or cut_, 60 hexadecimal digits, a checksum of eight",
    ),
    "tinkoff-token": on_github(
        "RussianInvestments/investAPI", "src/docs/grpc.md", "an example: t. and 72 characters of base64url"
    ),
    "contentful-token": on_github(
        "contentful/contentful-management.py",
        "fixtures/pat/create.yaml",
        "an answer of 2017: CFPAT- and 46 hexadecimal digits, the last of them zeros",
    ),
    "planetscale-credential": on_github(
        "planetscale/cli",
        "internal/config/config.go",
        "the pair is swapped when the ID starts with pscale_tkn_ and the token has twelve characters; not the others",
    ),
    "cloudflare-origin-ca-key": on_github(
        "cloudflare/terraform-provider-cloudflare",
        "README.md",
        "an example: v1.0-, 24 hexadecimal digits, a hyphen, 146 more",
    ),
    "omise-key": on_github("omise/omise-python", "README.md", "an example: skey_test_ and 19 small letters and digits"),
    "pangea-token": on_github(
        "pangeacyber/pangea-python",
        "packages/pangea-sdk/tests/testdata/specs/authn.openapi.json",
        "an example: pts_ and 32 small letters and digits; not pcl_ and pti_",
    ),
    "open-vsx-token": on_github(
        "eclipse/openvsx",
        "server/src/main/resources/scanning/secret-detection-custom-rules.yaml",
        "ovsxat_ or ovsxp_ and a UUID",
    ),
    "boundary-token": on_github(
        "hashicorp/boundary",
        "internal/clientcache/internal/cache/repository_token.go",
        "at_, ten characters, _, an encrypted payload",
    ),
    "laravel-app-key": on_github(
        "laravel/framework",
        "src/Illuminate/Encryption/EncryptionServiceProvider.php",
        "prefix base64:; elsewhere 32 bytes for AES-256 and 16 for AES-128",
    ),
    "slack-config-token": on_github(
        "slackapi/node-slack-sdk",
        "docs/english/reference/web-api/interfaces/ToolingTokensRotateArguments.md",
        "a refresh token that came with a configuration token starts with xoxe",
    ),
    "sendgrid-key": on_github(
        "sendgrid/docs",
        "content/docs/for-developers/sending-email/getting-started-email-activity-api.md",
        "SG., the key's ID, a dot, the rest; not the lengths",
    ),
    "ghost-admin-key": on_github(
        "TryGhost/Docs", "admin-api.mdx", "an ID, a colon, a secret in hexadecimal; not the lengths"
    ),
    "braintree-token": on_github(
        "braintree/braintree_python",
        "tests/integration/test_credentials_parser.py",
        "an example: access_token, the environment, the merchant's ID, the secret, with dollar signs between",
    ),
    "woocommerce-key": on_github(
        "woocommerce/woocommerce-rest-api-docs",
        "source/includes/v3/_authentication-endpoint.md",
        "masked examples: prefixes ck_ and cs_",
    ),
    "mercadopago-token": own(
        "https://www.mercadopago.com.mx/developers/en/docs/checkout-api-payments/best-practices/"
        "credentials-best-practices/secure-credentials.md",
        "a masked example: APP_USR-, digits, six digits, X, digits, with hyphens between",
    ),
    "flutterwave-public-key": own(
        "https://developer.flutterwave.com/v3.0/docs/authentication",
        "an example: FLWPUBK_TEST-, 32 hexadecimal digits, -X",
    ),
    "atlassian-token": own(
        "https://docs.atlassian.com/atlassian-bamboo/11.0.7/com/atlassian/bamboo/repository/configuration/"
        "BitbucketCloudApiTokenUtils.html",
        "prefix ATAT",
    ),
    "google-hmac-key": own(
        "https://docs.cloud.google.com/sdk/gcloud/reference/storage/hmac/describe",
        "an example: GOOG and 19 capitals and digits",
    ),
    "jetbrains-token": own(
        "https://www.jetbrains.com/help/youtrack/devportal/authentication-with-permanent-token.html.md",
        "an example: perm:, base64, a dot, base64, a dot, 30 letters and digits",
    ),
    "gitlab-runner-registration-token": own(
        "https://gitlab.com/gitlab-org/gitlab/-/merge_requests/109063", "prefix GR1348941"
    ),
    "openrouter-key": own(
        "https://openrouter.ai/docs/guides/features/guardrails/secret-formats",
        "sk-or-v1- and 64 small hexadecimal digits",
    ),
    "docker-token": own(
        "https://docs.docker.com/reference/api/hub/latest/operations/AuthCreateAccessToken.md",
        "an example with the prefix dckr_pat_, shorter than the rule wants; not dckr_oat_",
    ),
    "klaviyo-key": own(
        "https://developers.klaviyo.com/en/docs/retrieve_api_credentials", "pk_ and letters and digits; not the length"
    ),
    "infisical-token": own(
        "https://infisical.com/docs/internals/service-tokens",
        "an example of the parts: st.abc.def.ghi, the last in hexadecimal",
    ),
    "wandb-key": own(
        "https://docs.wandb.ai/support/models/articles/why-does-my-api-key-fail-with-must-be-40-characters",
        "about 86 characters, 40 before; not the prefix",
    ),
    "infura-endpoint": own(
        "https://docs.metamask.io/services/get-started/endpoints.md", "the network, .infura.io/v3/ or /ws/v3/, the key"
    ),
    "alchemy-endpoint": own(
        "https://www.alchemy.com/rpc/ethereum?page=1", "the network, .g.alchemy.com/v2/, the key; not its length"
    ),
    "confluent-cloud-secret": own(
        "https://docs.confluent.io/cloud/current/using/api-keys.html", "prefix cflt since July 2025; not the length"
    ),
    "azure-sas-signature": own(
        "https://learn.microsoft.com/rest/api/storageservices/service-sas-examples", "HMAC-SHA256 in base64"
    ),
    "twitter-bearer-token": own(
        "https://docs.x.com/ja/fundamentals/authentication/oauth-2-0/bearer-tokens", "an example that begins with 21 As"
    ),
    "duffel-token": own("https://duffel.com/docs/api/overview/test-mode", "test tokens: prefix duffel_test_"),
}
"""Rule -> the vendor's own page."""
