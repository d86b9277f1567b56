"""Secrets that no prefix gives away: a value that looks random, where passwords, keys and tokens stand.

Candidates come from `assigned.py`, the decision from `judge.py`; these rules alert, they never block by default.
"""

from collections.abc import Callable

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection import assigned as place
from ai_platform.protection.assigned import Candidate
from ai_platform.protection.judge import trained
from ai_platform.protection.names import read_name
from ai_platform.protection.rule import Anchor, Rule, Span

_JUDGE = trained()

Reader = Callable[[str, int, int], Candidate | None]


def _secret_at(read: Reader) -> Callable[[str, int, int], Span | None]:
    def find(text: str, start: int, end: int) -> Span | None:
        candidate = read(text, start, end)
        if candidate is None or _JUDGE.score(candidate) < _JUDGE.threshold:
            return None
        return candidate.start, candidate.end

    return find


def _api_key_at(text: str, start: int, end: int) -> Span | None:
    """A long random value that is called an API key."""
    candidate = place.assigned(text, start, end)
    if candidate is None or len(candidate.value) < 16:
        return None
    called = "".join(read_name(candidate.name).tokens[-3:])
    if (
        not called.endswith(("apikey", "apitoken", "apisecret", "apisecretkey"))
        or _JUDGE.score(candidate) < _JUDGE.threshold
    ):
        return None
    return candidate.start, candidate.end


_READERS: dict[str, Reader] = {"api-key": place.assigned}


def judged(rule_id: str, text: str, start: int, end: int) -> tuple[str, float] | None:
    """(the name a value is assigned to, how likely it is a secret), if a rule of this family found it."""
    read = _READERS.get(rule_id)
    for stop in range(start + 3, min(end, start + 12) + 1) if read else ():
        candidate = read(text, stop, stop) if read else None
        if candidate is not None and candidate.start == start:
            return candidate.name, _JUDGE.score(candidate)
    return None


def _generic(
    rule_id: str,
    kind: str,
    label: str,
    source: str,
    *triggers: str,
    read: Reader,
    extent: str,
    lead: int = 4,
    tier: Tier = Tier.GENERIC,
    examples: tuple[str, ...],
    counter_examples: tuple[str, ...],
) -> Rule:
    _READERS[rule_id] = read
    return Rule(
        id=rule_id,
        type=kind,
        label=label,
        data_class=DataClass.SECRET,
        tier=tier,
        severity=Severity.HIGH,
        source=source,
        triggers=triggers,
        nocase=True,
        anchor=Anchor.END,
        finder=_secret_at(read),
        lead=lead,
        extent=extent,
        action=Action.ALERT,
        examples=examples,
        counter_examples=counter_examples,
    )


_REST = rf"[A-Za-z0-9+/=_.~%-]{{0,{place.LONGEST_TAIL}}}"
_VALUE = rf"[^\n]{{0,{place.LONGEST_VALUE + 8}}}{_REST}"
_TOKEN = rf"\S{{0,{place.LONGEST_VALUE + 8}}}{_REST}"

RULES = (
    Rule(
        id="api-key",
        type="API_KEY",
        label="an API key",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.CRITICAL,
        source="common practice: a name that ends in api_key, api_token or api_secret with a long random value",
        triggers=(r"api[ _.-]?(?:key|token|secret)" + place.ASSIGNED.removeprefix(place.NAMES),),
        nocase=True,
        anchor=Anchor.END,
        finder=_api_key_at,
        lead=4,
        extent=_VALUE,
        action=Action.ALERT,
        examples=('api_key = "q8Rk2Lm5Nw7Pz4Xc6Vb9Jh1G"', "API-KEY: 7f3a9c2e5b8d1046af92c3e7"),
        counter_examples=(
            "api_key = os.environ['API_KEY']",
            'api_key = "your-api-key-goes-here-1234"',
            "api_key_id = 12",
        ),
    ),
    _generic(
        "assigned-secret",
        "GENERIC_SECRET",
        "a password, token or key",
        "common practice: a secret-like name is assigned a random-looking value",
        place.ASSIGNED,
        read=place.assigned,
        extent=_VALUE,
        examples=(
            'db_password = "kx7Qpl2vRt"',
            "AUTH_TOKEN=9f8e7d6c5b4a39281706f5e4d3c2b1a0",
            "<password>xj38fkq2</password>",
        ),
        counter_examples=(
            "password = getpass.getpass()",
            "token: ${TOKEN}",
            'key = "user_name"',
            "public_key = AbC123xyz789",
            "password: cGFzc3dvcmQ=",
            'apiSecret = "my_client_secret_1"',
            'password: "p@ssw0rd"',
            'new Mailer(self::PASSWORD, "eu-west-1")',
            'VERIFY_KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAq4yKxb6SNePdDmQi9xFC"',
            '"AWS::IAM::AccessKey": "72c2d9dd90025459"',
            'key_derivation = newSecretKey("PBKDF2WithHmacSHA256")',
            "token: /^[a-zA-Z0-9_-]{22,250}$/",
            '"LockToken": "b0f4583e-998b-4880-9069-3fbe45738b43"',
            '"startSession": "Rozpocznij sesję"',
            'if (key === "sslrootcert")',
        ),
    ),
    _generic(
        "authorization-header",
        "AUTHORIZATION",
        "an authorisation header",
        "RFC 6750 (Bearer), RFC 7617 (Basic)",
        place.SCHEME,
        place.HEADER,
        read=place.scheme,
        extent=_TOKEN,
        tier=Tier.CONTEXT,
        examples=(
            "Authorization: Bearer d522f3ce6736d7bdd5f551a4614553ad541cb529351e23c5682cf482645c44c4",
            'headers["Authorization"] = "Api-Token 22cb987851bc5659b29114c62e60c79abd0d2c08"',
        ),
        counter_examples=(
            "Authorization: Bearer $TOKEN",
            "Basic authentication",
            "Authorization: Basic dXNlcm5hbWU6cGFzc3dvcmQ=",
            "[Authorization], and xref:servlet/exploits/index.adoc#exploits[Protection]",
        ),
    ),
    _generic(
        "url-credentials",
        "URL_CREDENTIALS",
        "a password in an address",
        "RFC 3986 section 3.2.1 (userinfo)",
        place.URL,
        read=place.url_password,
        extent=r"[^\s\"'`<>]{0,260}",
        tier=Tier.CONTEXT,
        examples=("postgres://app:xk39fjq2@db.internal/app",),
        counter_examples=("postgres://user:password@localhost/db", "https://example.com:8080/a@b"),
    ),
    _generic(
        "command-line-password",
        "GENERIC_SECRET",
        "a password on a command line",
        "POSIX utility conventions: an option named after a secret",
        place.FLAG,
        read=place.flag,
        extent=_VALUE,
        examples=("tool --username jdoe --password 9v5g6tqx",),
        counter_examples=("tool --password $PASSWORD", "use --token to pass"),
    ),
    _generic(
        "curl-user",
        "GENERIC_SECRET",
        "a password on a command line",
        "curl(1), option -u",
        place.CURL_USER,
        read=place.curl_user,
        extent=_TOKEN,
        examples=(
            'curl -s -k --user "admin:rqztgxk" https://host/',
            "curl --user kevin:'pRf7vG2h1L8nQkW9' -X PATCH",
            "curl -u elastic:P@ssw0rd$1x7 https://host",
        ),
        counter_examples=('curl -u "$USER:$PASS" https://host', "docker run -u 1000:1000 x"),
    ),
    _generic(
        "curl-user-key",
        "GENERIC_SECRET",
        "a key on a command line",
        "curl(1), option -u; vendors whose key is the name of HTTP basic authentication",
        place.CURL_KEY,
        read=place.curl_key,
        extent="",
        lead=64,
        examples=('curl https://api.acme.io/v1/charges -u "q8Rk2Lm5Nw7Pz4Xc6Vb9Jh1G:"',),
        counter_examples=("docker run -u application: image", 'curl -u "$API_KEY:" https://host'),
    ),
    _generic(
        "sql-password",
        "GENERIC_SECRET",
        "a database password",
        "PostgreSQL CREATE ROLE ... PASSWORD, MySQL CREATE USER ... IDENTIFIED BY",
        place.SQL,
        read=place.spoken,
        extent=_VALUE,
        examples=("CREATE USER myuser WITH PASSWORD 'mlnpmndvkz';", "IDENTIFIED BY 'xk2jf93kq'"),
        counter_examples=("the password 'secret'", "password 'your-password'"),
    ),
    _generic(
        "secure-string",
        "GENERIC_SECRET",
        "a password in a script",
        "Microsoft Learn, ConvertTo-SecureString",
        place.SECURE_STRING,
        read=place.spoken,
        extent=_VALUE,
        examples=("$p = ConvertTo-SecureString 'Yaiodvdn668!' -AsPlainText -Force",),
        counter_examples=("ConvertTo-SecureString $plain -AsPlainText",),
    ),
    _generic(
        "one-time-password-seed",
        "GENERIC_SECRET",
        "the seed of one-time passwords",
        "RFC 6238; Google Authenticator key URI format (base32 secret)",
        place.ONE_TIME,
        read=place.one_time,
        extent=_VALUE,
        lead=8,
        examples=("ROTP::TOTP.new('LRVULR4ARNMHZTFV')",),
        counter_examples=("TOTP.new('base32secret')",),
    ),
)
