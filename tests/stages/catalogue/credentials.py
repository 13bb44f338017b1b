"""Made-up credentials in the forms that real services give out, planted in lines as they are logged.

All of them are drawn from a seed at run time: no file holds one, and none was ever given out by anybody.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

_LETTERS = string.ascii_letters + string.digits
_SIGNS = {
    "a": _LETTERS,
    "b": _LETTERS + "+/",
    "d": string.digits,
    "h": "0123456789abcdef",
    "l": string.ascii_lowercase + string.digits,
    "t": string.ascii_uppercase + "234567",
    "u": string.ascii_uppercase + string.digits,
    "w": _LETTERS + "_-",
}
_DRAWN = re.compile(r"\{([abdhltuw])(\d+)\}|\{uuid\}|\{jwt\}|\{pem\}")


class Kind(NamedTuple):
    """One form of credential."""

    service: str
    name: str
    """As an environment variable or setting is called that holds it."""
    form: str
    """`{a20}`: 20 letters and digits, and so on; see `_SIGNS`. What stands in `<>` is the secret, else all of it."""
    telling: bool = True
    """Tells by itself what it is. Others are logged with their name, and nobody could know them without it."""


KINDS = [
    # Clouds
    Kind("AWS", "AWS_ACCESS_KEY_ID", "AKIA{t16}"),
    Kind("AWS", "AWS_ACCESS_KEY_ID", "ASIA{t16}"),
    Kind("AWS", "AWS_SECRET_ACCESS_KEY", "{b40}", False),
    Kind("AWS", "AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjE{b280}==", False),
    Kind("AWS Bedrock", "AWS_BEARER_TOKEN_BEDROCK", "ABSK{b124}="),
    Kind("Google Cloud", "GOOGLE_API_KEY", "AIza{w35}"),
    Kind("Google Cloud", "ACCESS_TOKEN", "ya29.a0{w120}"),
    Kind("Google Cloud", "GOOGLE_CLIENT_SECRET", "GOCSPX-{w28}"),
    Kind("Google Cloud", "REFRESH_TOKEN", "1//0{w100}"),
    Kind("Azure", "AZURE_CLIENT_SECRET", "{a3}8Q~{w34}"),
    Kind(
        "Azure",
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey=<{b86}==>;EndpointSuffix=core.windows.net",
    ),
    Kind(
        "Azure",
        "SAS_URL",
        "https://logs.blob.core.windows.net/c?sv=2024-08-04&se=2026-12-01&sr=c&sp=rl&sig=<{a40}%2B{a1}%3D>",
    ),
    Kind("Azure OpenAI", "AZURE_OPENAI_API_KEY", "{h32}", False),
    Kind("Azure OpenAI", "AZURE_OPENAI_API_KEY", "{a52}JQQJ99{u4}AC{a20}"),
    Kind("Azure DevOps", "AZURE_DEVOPS_EXT_PAT", "{a76}AZDO{a4}"),
    Kind("Azure DevOps", "AZURE_DEVOPS_PAT", "{l52}", False),
    Kind("Alibaba Cloud", "ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5t{a18}"),
    Kind("Alibaba Cloud", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "{a30}", False),
    Kind("Tencent Cloud", "TENCENTCLOUD_SECRET_ID", "AKID{a32}"),
    Kind("Tencent Cloud", "TENCENTCLOUD_SECRET_KEY", "{a32}", False),
    Kind("IBM Cloud", "IBMCLOUD_API_KEY", "{w44}", False),
    Kind("Yandex Cloud", "YANDEX_API_KEY", "AQVN{w36}"),
    Kind("DigitalOcean", "DIGITALOCEAN_TOKEN", "dop_v1_{h64}"),
    Kind("Cloudflare", "CLOUDFLARE_API_TOKEN", "{w40}", False),
    Kind("Cloudflare", "CLOUDFLARE_API_KEY", "{h37}", False),
    Kind("Cloudflare", "CF_ORIGIN_CA_KEY", "v1.0-{h24}-{h146}"),
    Kind("Heroku", "HEROKU_API_KEY", "HRKU-AA{w58}"),
    Kind("Fly.io", "FLY_API_TOKEN", "fo1_{w43}"),
    Kind("Fly.io", "FLY_API_TOKEN", "FlyV1 fm2_{b200}=="),
    Kind("Linode", "LINODE_TOKEN", "{h64}", False),
    Kind("Hetzner", "HCLOUD_TOKEN", "{a64}", False),
    Kind("Scaleway", "SCW_SECRET_KEY", "{uuid}", False),
    Kind("Vercel", "VERCEL_TOKEN", "{a24}", False),
    Kind("Netlify", "NETLIFY_AUTH_TOKEN", "nfp_{a36}"),
    Kind("Render", "RENDER_API_KEY", "rnd_{a28}"),
    Kind("Railway", "RAILWAY_TOKEN", "{uuid}", False),
    Kind("Tailscale", "TS_AUTHKEY", "tskey-auth-{a16}-{a32}"),
    Kind("ngrok", "NGROK_AUTHTOKEN", "2{a26}_{a21}", False),
    # Models
    Kind("OpenAI", "OPENAI_API_KEY", "sk-proj-{w74}T3BlbkFJ{w74}"),
    Kind("OpenAI", "OPENAI_API_KEY", "sk-{a20}T3BlbkFJ{a20}"),
    Kind("OpenAI", "OPENAI_ADMIN_KEY", "sk-admin-{w58}T3BlbkFJ{w58}"),
    Kind("Anthropic", "ANTHROPIC_API_KEY", "sk-ant-api03-{w93}AA"),
    Kind("Anthropic", "CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-{w93}AA"),
    Kind("OpenRouter", "OPENROUTER_API_KEY", "sk-or-v1-{h64}"),
    Kind("Groq", "GROQ_API_KEY", "gsk_{a52}"),
    Kind("xAI", "XAI_API_KEY", "xai-{a80}"),
    Kind("Perplexity", "PERPLEXITY_API_KEY", "pplx-{a48}"),
    Kind("Hugging Face", "HF_TOKEN", "hf_{a34}"),
    Kind("Replicate", "REPLICATE_API_TOKEN", "r8_{a37}"),
    Kind("NVIDIA", "NVIDIA_API_KEY", "nvapi-{w64}"),
    Kind("DeepSeek", "DEEPSEEK_API_KEY", "sk-{h32}"),
    Kind("Mistral", "MISTRAL_API_KEY", "{a32}", False),
    Kind("Cohere", "COHERE_API_KEY", "{a40}", False),
    Kind("Together", "TOGETHER_API_KEY", "tgp_v1_{w43}"),
    Kind("Fireworks", "FIREWORKS_API_KEY", "fw_{a24}"),
    Kind("Cerebras", "CEREBRAS_API_KEY", "csk-{l48}"),
    Kind("ElevenLabs", "ELEVENLABS_API_KEY", "sk_{h48}"),
    Kind("Deepgram", "DEEPGRAM_API_KEY", "{h40}", False),
    Kind("Pinecone", "PINECONE_API_KEY", "pcsk_{a6}_{a63}"),
    Kind("Voyage", "VOYAGE_API_KEY", "pa-{w43}"),
    Kind("Jina", "JINA_API_KEY", "jina_{h32}{w28}"),
    Kind("Tavily", "TAVILY_API_KEY", "tvly-dev-{a32}"),
    Kind("Firecrawl", "FIRECRAWL_API_KEY", "fc-{h32}"),
    Kind("LlamaCloud", "LLAMA_CLOUD_API_KEY", "llx-{a48}"),
    Kind("E2B", "E2B_API_KEY", "e2b_{h40}"),
    Kind("Weights & Biases", "WANDB_API_KEY", "{h40}", False),
    Kind("LangSmith", "LANGSMITH_API_KEY", "lsv2_pt_{h32}_{h10}"),
    Kind("Langfuse", "LANGFUSE_SECRET_KEY", "sk-lf-{uuid}"),
    # Code and packages
    Kind("GitHub", "GITHUB_TOKEN", "ghp_{a36}"),
    Kind("GitHub", "GITHUB_TOKEN", "ghs_{a36}"),
    Kind("GitHub", "GITHUB_TOKEN", "github_pat_{a22}_{a59}"),
    Kind("GitLab", "GITLAB_TOKEN", "glpat-{w20}"),
    Kind("GitLab", "CI_JOB_TOKEN", "glcbt-64_{w20}"),
    Kind("Bitbucket", "BITBUCKET_APP_PASSWORD", "ATBB{a32}"),
    Kind("Atlassian", "JIRA_API_TOKEN", "ATATT3xFfGF0{w170}={u8}"),
    Kind("npm", "NPM_TOKEN", "npm_{a36}"),
    Kind("PyPI", "TWINE_PASSWORD", "pypi-AgEIcHlwaS5vcmc{w150}"),
    Kind("RubyGems", "GEM_HOST_API_KEY", "rubygems_{h48}"),
    Kind("crates.io", "CARGO_REGISTRY_TOKEN", "cio{a32}"),
    Kind("NuGet", "NUGET_API_KEY", "oy2{l43}"),
    Kind("Clojars", "CLOJARS_PASSWORD", "CLOJARS_{h60}"),
    Kind("JFrog", "ARTIFACTORY_API_KEY", "AKCp{a69}"),
    Kind("JFrog", "JF_ACCESS_TOKEN", "cmVmdGtuOj{a54}"),
    Kind("Docker Hub", "DOCKER_TOKEN", "dckr_pat_{w27}"),
    Kind("HCP Terraform", "TFE_TOKEN", "{a14}.atlasv1.{w67}"),
    Kind("HashiCorp Vault", "VAULT_TOKEN", "hvs.CAES{w90}"),
    Kind("Doppler", "DOPPLER_TOKEN", "dp.st.prd.{a43}"),
    Kind("Infisical", "INFISICAL_TOKEN", "st.{h24}.{h32}.{h32}"),
    Kind("1Password", "OP_SERVICE_ACCOUNT_TOKEN", "ops_eyJ{b250}"),
    Kind("Pulumi", "PULUMI_ACCESS_TOKEN", "pul-{h40}"),
    Kind("CircleCI", "CIRCLECI_TOKEN", "CCIPAT_{a22}_{h40}"),
    Kind("Buildkite", "BUILDKITE_API_TOKEN", "bkua_{h40}"),
    Kind("SonarQube", "SONAR_TOKEN", "squ_{h40}"),
    Kind("Sourcegraph", "SRC_ACCESS_TOKEN", "sgp_{h16}_{h40}"),
    Kind("Snyk", "SNYK_TOKEN", "{uuid}", False),
    Kind("Postman", "POSTMAN_API_KEY", "PMAK-{h24}-{h34}"),
    Kind("LaunchDarkly", "LAUNCHDARKLY_SDK_KEY", "sdk-{uuid}"),
    # Data
    Kind("Databricks", "DATABRICKS_TOKEN", "dapi{h32}"),
    Kind("PlanetScale", "DATABASE_PASSWORD", "pscale_pw_{w43}"),
    Kind("Supabase", "SUPABASE_ACCESS_TOKEN", "sbp_{h40}"),
    Kind("Supabase", "SUPABASE_SECRET_KEY", "sb_secret_{w31}"),
    Kind("Neon", "NEON_API_KEY", "napi_{l64}"),
    Kind("Prefect", "PREFECT_API_KEY", "pnu_{a36}"),
    Kind("Elastic Cloud", "EC_API_KEY", "essu_{b60}=="),
    Kind("Algolia", "ALGOLIA_API_KEY", "{h32}", False),
    Kind("Airtable", "AIRTABLE_TOKEN", "pat{a14}.{h64}"),
    Kind("PostgreSQL", "DATABASE_URL", "postgresql://app:<{a16}>@db.internal:5432/app"),
    Kind("MySQL", "MYSQL_URL", "mysql+pymysql://root:<{a12}>@10.0.4.7/shop"),
    Kind("MongoDB", "MONGODB_URI", "mongodb+srv://svc:<{a20}>@cluster0.ab1cd.mongodb.net/?retryWrites=true"),
    Kind("Redis", "REDIS_URL", "rediss://:<{h40}>@cache.internal:6380/0"),
    Kind("RabbitMQ", "AMQP_URL", "amqps://worker:<{a18}>@mq.internal/vhost"),
    # Chat and work
    Kind("Slack", "SLACK_BOT_TOKEN", "xoxb-{d12}-{d13}-{a24}"),
    Kind("Slack", "SLACK_APP_TOKEN", "xapp-1-A{u10}-{d13}-{h64}"),
    Kind("Slack", "SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/<T{u8}/B{u8}/{a24}>"),
    Kind("Discord", "DISCORD_WEBHOOK", "https://discord.com/api/webhooks/{d19}/<{w68}>"),
    Kind("Discord", "DISCORD_BOT_TOKEN", "MT{a24}.G{a5}.{w38}"),
    Kind("Telegram", "TELEGRAM_URL", "https://api.telegram.org/bot{d10}:<AA{w33}>/sendMessage"),
    Kind(
        "Microsoft Teams",
        "TEAMS_WEBHOOK",
        "https://acme.webhook.office.com/webhookb2/<{uuid}@{uuid}/IncomingWebhook/{h32}/{uuid}>",
    ),
    Kind("Linear", "LINEAR_API_KEY", "lin_api_{a40}"),
    Kind("Notion", "NOTION_TOKEN", "ntn_{d11}{a35}"),
    Kind("Figma", "FIGMA_TOKEN", "figd_{w40}"),
    Kind("Asana", "ASANA_ACCESS_TOKEN", "2/{d16}/{d16}:<{h32}>"),
    Kind("ClickUp", "CLICKUP_TOKEN", "pk_{d8}_{u32}"),
    Kind("Contentful", "CONTENTFUL_TOKEN", "CFPAT-{w43}"),
    Kind("Dropbox", "DROPBOX_TOKEN", "sl.u.{w140}"),
    Kind("Typeform", "TYPEFORM_TOKEN", "tfp_{a44}_{a14}"),
    Kind("HubSpot", "HUBSPOT_TOKEN", "pat-na1-{uuid}"),
    Kind("Salesforce", "SF_ACCESS_TOKEN", "00D{a12}!{a96}"),
    Kind("Okta", "OKTA_API_TOKEN", "00{w40}", False),
    Kind("Facebook", "FB_ACCESS_TOKEN", "EAA{a180}"),
    Kind("Twitter", "TWITTER_BEARER_TOKEN", "AAAAAAAAAAAAAAAAAAAAA{a90}", False),
    # Money
    Kind("Stripe", "STRIPE_SECRET_KEY", "sk_live_51{a97}"),
    Kind("Stripe", "STRIPE_WEBHOOK_SECRET", "whsec_{a32}"),
    Kind("PayPal", "PAYPAL_CLIENT_SECRET", "E{w79}", False),
    Kind("Braintree", "BRAINTREE_TOKEN", "access_token$production${l16}${h32}"),
    Kind("Square", "SQUARE_ACCESS_TOKEN", "EAAAl{w59}"),
    Kind("Shopify", "SHOPIFY_TOKEN", "shpat_{h32}"),
    Kind("Plaid", "PLAID_ACCESS_TOKEN", "access-production-{uuid}"),
    Kind("Razorpay", "RAZORPAY_KEY_SECRET", "{a24}", False),
    Kind("Flutterwave", "FLW_SECRET_KEY", "FLWSECK-{h32}-X"),
    Kind("Mollie", "MOLLIE_API_KEY", "live_{a30}"),
    Kind("Duffel", "DUFFEL_TOKEN", "duffel_live_{w43}"),
    Kind("EasyPost", "EASYPOST_API_KEY", "EZAK{h32}{a22}"),
    Kind("Shippo", "SHIPPO_TOKEN", "shippo_live_{h40}"),
    # Mail, phone, watching
    Kind("SendGrid", "SENDGRID_API_KEY", "SG.{w22}.{w43}"),
    Kind("Mailgun", "MAILGUN_API_KEY", "key-{h32}"),
    Kind("Mailgun", "MAILGUN_API_KEY", "{h32}-{h8}-{h8}"),
    Kind("Mailchimp", "MAILCHIMP_API_KEY", "{h32}-us21"),
    Kind("Mandrill", "MANDRILL_API_KEY", "md-{w22}"),
    Kind("Brevo", "BREVO_API_KEY", "xkeysib-{h64}-{a16}"),
    Kind("Resend", "RESEND_API_KEY", "re_{a8}_{a24}"),
    Kind("Postmark", "POSTMARK_SERVER_TOKEN", "{uuid}", False),
    Kind("Twilio", "TWILIO_AUTH_TOKEN", "{h32}", False),
    Kind("OneSignal", "ONESIGNAL_API_KEY", "os_v2_app_{l100}"),
    Kind("Grafana", "GRAFANA_TOKEN", "glsa_{a32}_{h8}"),
    Kind("Grafana", "GRAFANA_CLOUD_TOKEN", "glc_eyJ{b130}"),
    Kind("New Relic", "NEW_RELIC_LICENSE_KEY", "{h32}FFFFNRAL"),
    Kind("New Relic", "NEW_RELIC_API_KEY", "NRAK-{u27}"),
    Kind("Sentry", "SENTRY_AUTH_TOKEN", "sntrys_eyJ{b120}_{b43}"),
    Kind("Sentry", "SENTRY_AUTH_TOKEN", "sntryu_{h64}"),
    Kind("Datadog", "DD_API_KEY", "{h32}", False),
    Kind("Datadog", "DD_APP_KEY", "{h40}", False),
    Kind("Dynatrace", "DT_API_TOKEN", "dt0c01.{u24}.{u64}"),
    Kind("Honeycomb", "HONEYCOMB_API_KEY", "hcaik_01{l24}{l32}"),
    Kind("PagerDuty", "PAGERDUTY_TOKEN", "u+{w18}", False),
    Kind("Splunk", "SPLUNK_HEC_TOKEN", "{uuid}", False),
    Kind("PostHog", "POSTHOG_PERSONAL_API_KEY", "phx_{a43}"),
    Kind("Logfire", "LOGFIRE_TOKEN", "pylf_v1_us_{a43}"),
    Kind("Mapbox", "MAPBOX_SECRET_TOKEN", "sk.eyJ{w80}.{w22}"),
    Kind("ReadMe", "README_API_KEY", "rdme_{l70}"),
    # Of no one service
    Kind("JWT", "ID_TOKEN", "{jwt}"),
    Kind("SSH", "DEPLOY_KEY", "{pem}"),
    Kind("age", "SOPS_AGE_KEY", "AGE-SECRET-KEY-1{u58}"),
    Kind("HTTP basic", "PROXY_URL", "http://proxyuser:<{a14}>@proxy.internal:3128"),
]

_NAMED = [
    "2026-03-04 23:36:00,179 INFO app.settings {name}={form}",
    "export {name}='{form}'",
    "2026-03-04T23:36:00Z DEBUG env: PATH=/usr/bin HOME=/srv {name}={form} LANG=C.UTF-8",
    "config loaded: {lower}: {form}",
    "Settings(debug=False, {lower}='{form}', retries=3)",
    "{{'{lower}': '{form}', 'timeout': 30}}",
    'level=debug msg="client made" {lower}="{form}" attempt=1',
    "docker run -e {name}={form} --rm app:1.4",
    "{json_message}",
    "{json_field}",
    "{json_text}",
]
_BARE = [
    "ERROR request failed: 401 Client Error: invalid credential {form}",
    "retrying with {form} after 429",
    "Authorization: Bearer {form}",
    "> x-api-key: {form}",
    "GET /v1/items?key={form}&page=2 HTTP/1.1",
    "curl -H 'Authorization: token {form}' https://api.example.com/v1",
    '  File "/srv/app/client.py", line 88, in call\n    raise AuthError("{form}")\napp.errors.AuthError: {form}',
    "{json_bare}",
]
_NOT_IN_HEADERS = re.compile(r"Bearer|x-api-key|\?key=|token \{form")


class Planted(NamedTuple):
    """A line with a credential in it."""

    kind: Kind
    secret: str
    line: str


def planted(seed: int = 1) -> Iterator[Planted]:
    """Each kind of credential in each of the lines in which it would be met, a new one each time."""
    random = Random(seed)
    for kind in KINDS:
        for shape in _NAMED + _BARE:
            if shape in _BARE and (not kind.telling or (_NOT_IN_HEADERS.search(shape) and _is_url(kind))):
                continue
            whole, secret = _drawn(kind.form, random)
            yield Planted(kind, secret, _line(shape, kind.name, whole))


def left(secret: str, text: str) -> bool:
    """Whether a part of the secret that would be of use stands in the text: a run of 8 in what is drawn of it."""
    start = len(secret) // 3  # the first third may be a prefix, which is no secret
    return any(secret[place : place + 8] in text for place in range(start, max(start + 1, len(secret) - 7)))


def _is_url(kind: Kind) -> bool:
    return "://" in kind.form or "{pem}" in kind.form or ";" in kind.form or " " in kind.form


def _line(shape: str, name: str, form: str) -> str:
    if shape == "{json_message}":
        return json.dumps({"level": "info", "message": f"starting\nwith {name}={form}", "n": 3})
    if shape == "{json_field}":
        return json.dumps({"event": "config", "settings": {name.lower(): form, "debug": False}})
    if shape == "{json_text}":
        inner = json.dumps({"env": {name: form}})
        return json.dumps({"event": "tool_call", "arguments": inner, "ok": True})
    if shape == "{json_bare}":
        return json.dumps({"event": "llm_call", "messages": [{"role": "user", "content": f"why does\n{form} fail?"}]})
    return shape.format(name=name, lower=name.lower(), form=form)


def _drawn(form: str, random: Random) -> tuple[str, str]:
    def draw(found: re.Match[str]) -> str:
        if found[0] == "{uuid}":
            return "-".join(_signs("h", size, random) for size in (8, 4, 4, 4, 12))
        if found[0] == "{jwt}":
            return f"eyJ{_signs('a', 33, random)}.eyJ{_signs('a', 60, random)}.{_signs('w', 43, random)}"
        if found[0] == "{pem}":
            body = "\n".join(_signs("b", 64, random) for _ in range(6))
            return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----"
        return _signs(found[1], int(found[2]), random)

    whole = _DRAWN.sub(draw, form)
    secret = re.search(r"<(.*)>", whole)
    return re.sub(r"[<>]", "", whole), secret[1] if secret else whole


def _signs(of: str, count: int, random: Random) -> str:
    """Begins and ends with a letter or digit, as most that is given out does."""
    signs = random.choices(_SIGNS[of], k=count)
    for place in (0, -1):
        while signs[place] in "_-+/":
            signs[place] = random.choice(_SIGNS[of])
    return "".join(signs)
