"""Credentials as programs keep and take them: configuration files, command lines, signed addresses, password hashes."""

from base64 import b64decode
from binascii import Error

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checks import random_looking
from ai_platform.protection.judge import likely_password
from ai_platform.protection.rule import Anchor, Check, Rule


def _password(value: str) -> bool:
    """Likely a password: no variable, no stand-in, no word that everybody writes."""
    return value[0] not in "$<{(%-" and likely_password(value)


def _basic(value: str) -> bool:
    """Decodes to `name:password`."""
    try:
        plain = b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (Error, ValueError):
        return False
    name, colon, password = plain.partition(":")
    return bool(colon and name and len(password) >= 4) and plain.isprintable() and _password(password)


def _kept(
    rule_id: str,
    label: str,
    source: str,
    *triggers: str,
    confirm: str,
    examples: tuple[str, ...],
    counter_examples: tuple[str, ...],
    type: str = "GENERIC_SECRET",  # noqa: A002 - the record's own field name
    check: Check | None = _password,
    tier: Tier = Tier.CONTEXT,
    severity: Severity = Severity.HIGH,
    action: Action | None = Action.ALERT,
) -> Rule:
    """A credential in its place: `triggers` end where the value, or what leads to it, begins."""
    return Rule(
        id=rule_id,
        type=type,
        label=label,
        data_class=DataClass.SECRET,
        tier=tier,
        severity=severity,
        source=source,
        triggers=triggers,
        nocase=True,
        anchor=Anchor.END,
        confirm=confirm,
        check=check,
        action=action,
        examples=examples,
        counter_examples=counter_examples,
    )


_ARGUMENT = r"""["']?(?P<v>[^\s"'`|;&<>]{4,128})"""

RULES = (
    _kept(
        "netrc-password",
        "a password in a netrc file",
        "GNU inetutils manual, the .netrc file",
        r"login\s{1,4}[^\s\x00]{1,48}\s{1,8}password\s{1,4}",
        confirm=r"(?P<v>\S{4,128})",
        examples=("machine ftp.acme.io login ada password kx7Qpl2v",),
        counter_examples=("machine ftp.acme.io login ada password $PASSWORD", "the login and password"),
    ),
    _kept(
        "pgpass-password",
        "a password in a pgpass file",
        "PostgreSQL documentation, the password file",
        r":(?:543[0-9]|6432|\*):[\w*-]{1,40}:[\w.*-]{1,40}:",
        confirm=r"(?P<v>[^\s:\"'`();,]{4,128})(?=\s|\Z)",
        examples=("db.internal:5432:orders:app:kx7Qpl2v",),
        counter_examples=("db.internal:5432:orders:app:", "10:5432:orders"),
    ),
    _kept(
        "docker-auth",
        "a registry's credentials",
        "Docker documentation, config.json (auths)",
        r'"auth"\s{0,4}:\s{0,4}"',
        confirm=r"(?P<v>(?-i:[A-Za-z0-9+/]{12,400}={0,2}))(?=\")",
        check=_basic,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        action=None,
        examples=('{"auths": {"registry.acme.io": {"auth": "YWRhOmt4N1FwbDJ2UnQ="}}}',),
        counter_examples=('{"auth": "disabledforeveryone"}',),
    ),
    _kept(
        "chpasswd-password",
        "a password on a command line",
        "chpasswd(8)",
        r"echo\s{1,3}(?:-e\s{1,3})?[\"']?[\w.-]{1,32}:",
        confirm=r"""(?P<v>[^\s"'|$]{4,64})["']?\s{0,3}\|\s{0,3}(?:sudo\s{1,3})?(?:/usr/sbin/)?chpasswd""",
        examples=("RUN echo 'root:kx7Qpl2v' | chpasswd",),
        counter_examples=('echo "user:$PASS" | chpasswd', "echo a:bcdef | sort"),
    ),
    _kept(
        "sshpass-password",
        "a password on a command line",
        "sshpass(1), option -p",
        r"sshpass\s{1,3}-p\s{0,2}",
        confirm=_ARGUMENT,
        examples=("sshpass -p 'kx7Qpl2v' ssh ada@host",),
        counter_examples=('sshpass -p "$PASS" ssh host', "sshpass -e ssh host"),
    ),
    _kept(
        "database-client-password",
        "a password on a command line",
        "MySQL reference manual, option -p; redis-cli, option -a",
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb|mongo|mongosh|mongodump)\s(?:[^\n|;\x00]{0,60}\s)?-p",
        r"\bredis-cli\s(?:[^\n|;\x00]{0,60}\s)?-a\s{1,2}",
        confirm=r"""(?:(?<=-p)["']?|(?<=\s)["']?)(?P<v>[^\s"'`|;&<>]{4,128})""",
        examples=("mysql -u root -pkx7Qpl2v orders", "redis-cli -h cache -a kx7Qpl2v ping"),
        counter_examples=("mysql -u root -p orders", "mysql -u root -p$PASS"),
    ),
    _kept(
        "openssl-passphrase",
        "a passphrase on a command line",
        "openssl(1), pass phrase options; keytool, -storepass and -keypass",
        r"-pass(?:in|out)?\s{1,3}[\"']?pass:",
        r"-(?:store|key|deststore|srcstore|destkey)pass\s{1,3}",
        confirm=_ARGUMENT,
        examples=("openssl rsa -in key.pem -passin pass:kx7Qpl2v", "keytool -list -storepass kx7Qpl2v"),
        counter_examples=("openssl rsa -passin pass:$PASS", "keytool -storepass changeme"),
    ),
    _kept(
        "smb-password",
        "a password on a command line",
        "smbclient(1), option -U; Microsoft Learn, net use",
        r"-u\s{1,3}[\"']?[\w.\\/-]{1,48}%",
        r"/user:[\"']?[\w.\\@-]{1,48}[\"']?\s{1,3}",
        confirm=_ARGUMENT,
        examples=("smbclient -U 'ACME\\ada%kx7Qpl2v' //host/share", r"net use \\host\c$ /user:ACME\ada kx7Qpl2v"),
        counter_examples=("smbclient -U ada //host/share", r"net use \\host /user:ada $PASS"),
    ),
    _kept(
        "kubeadm-token",
        "a Kubernetes bootstrap token",
        "Kubernetes documentation, authenticating with bootstrap tokens",
        r"--token[= ]",
        r"bootstrap[-_ ]?token[\"']?\s{0,3}[:=]\s{0,3}[\"']?",
        confirm=r"(?P<v>(?-i:[a-z0-9]{6}\.[a-z0-9]{16}))(?![a-z0-9.])",
        check=None,
        examples=("kubeadm join 10.0.0.1:6443 --token 9a08jv.c0izixklcxtmnze7",),
        counter_examples=("kubeadm join --token $TOKEN",),
    ),
    _kept(
        "said-password",
        "a password in a sentence",
        "everyday language: `the password is ...`",
        r"(?:password|passwd|passphrase|passcode|pwd|pin|kennwort|passwort|contrase.{1,2}a|mot de passe)\s{1,2}(?:is|was|ist|es|est):?\s{1,2}",
        confirm=r"""["'`]?(?=[^\s"'`]{0,40}\d)(?=[^\s"'`]{0,40}[A-Za-z])(?P<v>[^\s"'`<>(){}]{6,64})(?<![.,;:!?])""",
        examples=("The password is kx7Qpl2v.", "my passphrase was 'bq42-Lm7x'"),
        counter_examples=("the password is required", "the password is md5(x)", "password is 12"),
    ),
    Rule(
        id="aws-signed-address",
        type="AWS_ACCESS_KEY",
        label="an AWS access key in a signed address",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="AWS documentation, Signature Version 4: query parameters (X-Amz-Credential)",
        starts=("X-Amz-Credential=",),
        then=r"A[KS]IA",
        confirm=r"X-Amz-Credential=(?P<v>A[KS]IA[A-Z0-9]{16}(?:[%/][\w%/.-]{8,90})?)",
        check=random_looking,
        examples=(
            "https://b.s3.amazonaws.com/o?X-Amz-Credential=AKIAY3T6Q5B7C2D4WXYZ%2F20261122%2Fus-east-1%2Fs3%2Faws4_request",
        ),
        counter_examples=("X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524",),
    ),
    Rule(
        id="password-hash",
        type="PASSWORD_HASH",
        label="the hash of a password",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source="crypt(5), the PHC string format, Django documentation (password storage)",
        starts=("$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$", "$2y$", "$apr1$", "$argon2i", "$argon2d", "pbkdf2_sha256$"),
        glued=True,
        confirm=(
            r"(?:\$(?:1|apr1)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|\$5\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}"
            r"|\$6\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}|\$y\$[./A-Za-z0-9]{1,12}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
            r"|\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}|\$argon2(?:id|i|d)\$v=\d{1,3}\$[mtp=,\d]{5,40}\$[A-Za-z0-9+/]{8,88}\$[A-Za-z0-9+/]{16,128}"
            r"|pbkdf2_sha256\$\d{1,9}\$[A-Za-z0-9]{8,32}\$[A-Za-z0-9+/]{43}=)(?![./A-Za-z0-9])"
        ),
        check=random_looking,
        examples=(
            "root:$6$kJx7Qpl2vRt9$"
            "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9fG1hJ3kL5mN7pQ9rS1tU3vW5xY7zA9bC1dE3fG5hJ7kL:19",
            "$2b$12$Kx7Qpl2vRt9aB3dE5fG7hOJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE",
        ),
        counter_examples=("$2b$12$short", "cost $1$ each"),
    ),
    Rule(
        id="windows-password-hash",
        type="PASSWORD_HASH",
        label="the hash of a Windows password",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source="MS-SAMR section 2.2.11 (LM and NT hashes), as password dumps write them",
        triggers=(r":[0-9a-f]{32}:[0-9a-f]{32}:", r"aad3b435b51404eeaad3b435b51404ee:[0-9a-f]{32}"),
        nocase=True,
        anchor=Anchor.END,
        lead=66,
        confirm=r"[^0-9a-f]?(?P<v>[0-9a-f]{32}:[0-9a-f]{32})(?![0-9a-f])",
        check=random_looking,
        examples=("ada:1001:1c8b2f3a4d5e6f708192a3b4c5d6e7f8:0b1c2d3e4f5061728394a5b6c7d8e9fa:::",),
        counter_examples=("1c8b2f3a4d5e6f708192a3b4c5d6e7f8:0b1c2d3e",),
    ),
)
