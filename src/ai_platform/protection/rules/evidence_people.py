"""Pages that document numbers of persons, accounts and health, keys, and credentials of code and of programs.

Not a family: no RULES here. Above: evidence.py. Below: evidence_record.py.
"""

from ai_platform.protection.rules.evidence_record import Evidence


def _stdnum(module: str, told: str) -> Evidence:
    """A page of python-stdnum, whose check digits were also compared with ours over random numbers."""
    return Evidence(
        f"https://github.com/arthurdejong/python-stdnum/blob/master/stdnum/{module}.py", vendor=False, told=told
    )


_SSN = _stdnum(
    "us/ssn", "nine digits: area of three, group of two, serial of four; no check digit; some are never issued"
)
_MBI = Evidence(
    "https://learn.microsoft.com/en-us/purview/sit-defn-medicare-beneficiary-identifier-card",
    vendor=False,
    told="eleven characters, which of them digits and which letters, no S L O I B Z, optional hyphens after 4 and 7",
)
_IBAN = _stdnum(
    "iban", "country, two check digits (ISO 7064 MOD 97-10), its own format; iban.dat: the length of each country"
)
_NINO = Evidence(
    "https://npmjs.com/package/valid-nino",
    vendor=False,
    told="two letters (neither D F I Q U V, no O second, no BG GB KN NK NT TN ZZ), six digits, A to D",
)
_NIR = _stdnum("fr/nir", "15 digits: sex, year, month, place, serial, two check digits")
_DNI = _stdnum("es/nie", "X, Y or Z and seven digits (DNI: eight digits), and a check letter")
_CPF = _stdnum("br/cpf", "eleven digits, two of them check digits")
_GITLAB = "https://github.com/gitlabhq/gitlabhq/blob/master/doc/security/tokens/_index.md"

_NUMBERS = {
    "iban": _IBAN,
    "iban-keyword": _IBAN,
    "us-ssn": _SSN,
    "us-ssn-keyword": _SSN,
    "us-itin": _stdnum("us/itin", "nine digits, the first a 9, the fourth and fifth in a range"),
    "us-bank-routing": _stdnum("us/rtn", "nine digits, the last a check digit; not which first digits are issued"),
    "uk-nhs-number": _stdnum("gb/nhs", "ten digits, the last a check digit"),
    "uk-nino": _NINO,
    "uk-nino-keyword": _NINO,
    "fr-nir": _NIR,
    "fr-nir-keyword": _NIR,
    "es-nif": _DNI,
    "es-nif-keyword": _DNI,
    "it-fiscal-code": _stdnum("it/codicefiscale", "16 characters: name, birth, place, and a check character"),
    "de-tax-id": _stdnum("de/idnr", "eleven digits without personal information"),
    "nl-bsn": _stdnum("nl/bsn", "up to nine digits and a simple checksum"),
    "be-national-number": _stdnum(
        "be/bis", "eleven digits from the date of birth, two of them a check; month plus 20 or 40 in BIS numbers"
    ),
    "pt-nif": _stdnum("pt/nif", "nine digits and a checksum"),
    "pl-pesel": _stdnum("pl/pesel", "eleven digits: date of birth, serial, sex, a check digit"),
    "pl-nip": _stdnum("pl/nip", "ten digits and a weighted checksum"),
    "fi-identity-code": _stdnum("fi/hetu", "date of birth, a sign of the century, three digits, a check character"),
    "se-personal-number": _stdnum("se/personnummer", "10 or 12 digits from the date of birth, serial, a check digit"),
    "no-birth-number": _stdnum("no/fodselsnummer", "eleven digits: date of birth, serial, two check digits"),
    "dk-cpr": _stdnum("dk/cpr", "DDMMYY-SSSS; the checksum was given up in 2007"),
    "ch-ahv": _stdnum("ch/ssn", "EAN-13 with dots"),
    "at-svnr": _stdnum("at/vnr", "ten digits: serial of three, a check digit, six that are usually the date of birth"),
    "ie-pps": _stdnum("ie/pps", "seven digits, a check letter, and a second letter A, B or H, once W, T or X"),
    "cz-birth-number": _stdnum("cz/rc", "nine or ten digits, the tenth the rest by eleven of nine, 10 written as 0"),
    "ro-cnp": _stdnum("ro/cnp", "13 digits: sex, date of birth, county"),
    "bg-egn": _stdnum("bg/egn", "ten digits: date of birth, order of birth, a check digit"),
    "hr-oib": _stdnum("hr/oib", "eleven digits, ISO 7064 MOD 11,10"),
    "baltic-personal-code": _stdnum("ee/ik", "eleven digits: sex and century, date of birth, serial, a check digit"),
    "tr-identity-number": _stdnum("tr/tckimlik", "eleven digits, the last two check digits"),
    "ca-sin": _stdnum("ca/sin", "nine digits, not from 0 or 8, Luhn"),
    "br-cpf": _CPF,
    "br-cpf-keyword": _CPF,
    "br-cnpj": _stdnum("br/cnpj", "14 characters, letters too from July 2026, the last two check digits"),
    "mx-curp": _stdnum("mx/curp", "18 characters: letters of the name, date of birth, sex, a check digit"),
    "ar-cuil": _stdnum("ar/cuit", "eleven digits from 20 23 24 27 30 33 34 50 51 55, the last a check digit"),
    "cl-rut": _stdnum("cl/rut", "up to eight digits and a check digit or K"),
    "in-aadhaar": _stdnum("in_/aadhaar", "twelve digits, not from 0 or 1, Verhoeff"),
    "in-pan": _stdnum("in_/pan", "five letters, the fourth one of A B C F G H J K L P T, four digits, a letter"),
    "cn-resident-id": _stdnum("cn/ric", "18 characters: place of six, date of birth, order of three, a checksum"),
    "kr-rrn": _stdnum("kr/rrn", "13 digits: date of birth, century and sex, six more"),
    "jp-my-number": _stdnum("jp/in_", "twelve digits, the last a check digit"),
    "my-nric": _stdnum("my/nric", "twelve digits: date of birth, place of two, four more"),
    "th-identity-number": _stdnum("th/pin", "13 digits in five groups, the last a check digit"),
    "id-nik": _stdnum("id/nik", "16 digits: place of six, day (plus 40 for women), month, year, four more"),
    "au-tfn": _stdnum("au/tfn", "eight (older) or nine digits, one a check digit; eight are not looked for"),
    "nz-ird": _stdnum("nz/ird", "eight or nine digits, the last a check digit"),
    "za-identity-number": _stdnum("za/idnr", "13 digits: date of birth, sex, citizenship"),
    "il-identity-number": _stdnum("il/idnr", "nine digits, the last a check digit"),
    "sg-nric": Evidence(
        "https://garden.melvinzhang.net/posts/nric_checksum",
        vendor=False,
        told="weights 2-7-6-5-4-3-2, 4 more for T and G, the two rows of letters; not M",
    ),
    "us-medicare-mbi": _MBI,
    "us-medicare-mbi-keyword": _MBI,
    "us-dea-number": Evidence(
        "https://learn.microsoft.com/en-us/purview/sit-defn-drug-enforcement-agency-number",
        vendor=False,
        told="a registrant's letter, a letter or 9, seven digits, the last a check digit",
    ),
    "us-npi": Evidence(
        "https://www.johndcook.com/blog/2024/06/26/npi-number/",
        vendor=False,
        told="ten digits from 1 or 2, Luhn over 80840 and the number",
    ),
    "vehicle-identification": Evidence(
        "https://edocket.access.gpo.gov/cfr_2002/octqtr/49cfr565.4.htm",
        vendor=True,
        told="17 characters, the ninth a check digit",
    ),
    "card-track-1": Evidence(
        "https://db0nus869y26v.cloudfront.net/en/ISO/IEC_7813",
        vendor=False,
        told="%B, up to 19 digits, ^, a name of 2 to 26, ^, date of four, service code of three, more, ?",
    ),
    "card-track-2": Evidence(
        "https://db0nus869y26v.cloudfront.net/en/ISO/IEC_7813",
        vendor=False,
        told=";, up to 19 digits, =, date of four, service code of three, more, ?",
    ),
    "bitcoin-address-bech32": Evidence(
        "https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki",
        vendor=True,
        told="bc1 or tb1, letters and digits without 1 b i o, 26 to 74 characters, a checksum; capitals in QR codes",
    ),
}

_KEYS = {
    "age-secret-key": Evidence(
        "https://github.com/C2SP/C2SP/blob/main/age.md",
        vendor=True,
        told="AGE-SECRET-KEY- and AGE-SECRET-KEY-PQ- as Bech32 of 32 bytes, in capitals",
    ),
    "nats-seed": Evidence(
        "https://github.com/nats-io/nkeys/blob/main/README.md",
        vendor=True,
        told="base32, S and the letter of the kind: U A N C",
    ),
    "extended-private-key": Evidence(
        "https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki",
        vendor=True,
        told="xprv or tprv, Base58 of 78 bytes and a double SHA-256 checksum, up to 112 characters",
    ),
    "recovery-phrase": Evidence(
        "https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki",
        vendor=True,
        told="12, 15, 18, 21 or 24 words",
    ),
    "bitcoin-private-key": Evidence(
        "https://bitcoinmachine.cc/glossary/technical/wif-private-key/",
        vendor=False,
        told="51 characters from 5, 52 from K or L, Base58Check",
    ),
    "wireguard-private-key": Evidence(
        "https://github.com/WireGuard/wireguard-tools/blob/master/src/man/wg.8",
        vendor=True,
        told="PrivateKey and PresharedKey in base64, an example of 44 characters",
    ),
    "putty-private-key": Evidence(
        "https://wa2l-wintools.sourceforge.net/chm/PuTTY/html/ppk-outer.html",
        vendor=False,
        told="PuTTY-User-Key-File-version: algorithm, Encryption, Comment, Public-Lines and their base64",
    ),
    "json-web-token": Evidence(
        "https://raw.githubusercontent.com/authlib/joserfc/refs/heads/main/docs/rfc/7515.rst",
        vendor=False,
        told="three parts in base64url between full stops, the first a JSON object with alg",
    ),
    "json-web-key": Evidence(
        "https://learn.microsoft.com/en-us/javascript/api/@azure/arm-attestation/jsonwebkey?view=azure-node-preview",
        vendor=False,
        told="kty, d (RSA private exponent or ECC private key), k (symmetric key)",
    ),
    "private-key-pem": Evidence(
        "https://pub.dev/documentation/ssh_key/latest/ssh_key_txt/TextualEncoding-class.html",
        vendor=False,
        told="-----BEGIN label-----, base64, -----END label-----",
    ),
}

_CODE = {
    "github-fine-grained-token": Evidence(
        "https://gist.github.com/magnetikonline/073afe7909ffdd6f10ef06a00bc3bc88",
        vendor=False,
        told="github_pat_, 22 letters and digits, an underscore, 59 more",
    ),
    "gitlab-token": Evidence(
        _GITLAB,
        vendor=True,
        told="prefixes glpat- gloas- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glwt- glsoat- glffct-",
    ),
    "gitlab-session-cookie": Evidence(_GITLAB, vendor=True, told="prefix _gitlab_session=; not the rest"),
    "sourcegraph-token": Evidence(
        "https://sourcegraph.com/docs/cli/how-tos/revoking_an_access_token",
        vendor=True,
        told="prefix sgp_; not the rest",
    ),
    "crates-io-token": Evidence(
        "https://github.com/rust-lang/crates.io/blob/main/src/util/token.rs",
        vendor=True,
        told="cio and 32 letters and digits",
    ),
    "rubygems-key": Evidence(
        "https://github.com/rubygems/rubygems.org/blob/master/app/controllers/concerns/api_keyable.rb",
        vendor=True,
        told="rubygems_ and 48 hexadecimal digits",
    ),
    "buildkite-token": Evidence(
        "https://github.com/buildkite/docs/blob/main/pages/platform/security/tokens.md",
        vendor=True,
        told="prefixes bkua_ bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_ bkps_, lengths from about 50 to some hundreds",
    ),
    "circleci-token": Evidence(
        "https://circleci.com/changelog/new-format-for-api-access-tokens/",
        vendor=True,
        told="CCIPAT_ or CCIPRJ_, a UUID in base58, an underscore, 40 hexadecimal digits",
    ),
}

_PROGRAMS = {
    "ipv6-address": Evidence(
        "https://learn.microsoft.com/en-us/windows/win32/winsock/text-representation-of-ipv6-addresses-2",
        vendor=False,
        told="eight groups of up to four hexadecimal digits, :: once for groups of noughts; dotted ends are not looked for",
    ),
    "openssl-passphrase": Evidence(
        "https://manpages.ubuntu.com/manpages/mantic/man1/openssl-passphrase-options.1ssl.html",
        vendor=True,
        told="-passin and -passout with pass:password, env: or file:; not keytool's",
    ),
    "sshpass-password": Evidence(
        "https://app.unpkg.com/linux-command@1.22.0/files/command/sshpass.md", vendor=False, told="-p and the password"
    ),
    "database-client-password": Evidence(
        "https://mysql-faq.sourceforge.net/privileges3.html",
        vendor=False,
        told="mysql, mysqladmin, mysqldump: -p and the password without a space; not redis-cli's -a",
    ),
    "netrc-password": Evidence(
        "https://manpages.ubuntu.com/manpages/oracular/man5/inetutils-netrc.5.html",
        vendor=True,
        told="machine NAME login NAME password STRING, between spaces, tabs or new lines",
    ),
    "pgpass-password": Evidence(
        "https://access.crunchydata.com/documentation/postgresql94/9.4.16/libpq-pgpass.html",
        vendor=True,
        told="hostname:port:database:username:password, * for any of the first four, \\ before : and \\",
    ),
    "docker-auth": Evidence(
        "https://pkg.go.dev/github.com/ivanilves/lstags@v1.2.9/docker/config",
        vendor=False,
        told="auths, registry, auth: username and password in base64",
    ),
    "kubeadm-token": Evidence(
        "https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens",
        vendor=True,
        told="six lower-case letters and digits, a full stop, 16 more",
    ),
    "aws-signed-address": Evidence(
        "https://docs.aws.amazon.com/signer/latest/api/CommonParameters.html",
        vendor=True,
        told="X-Amz-Credential: access key, date, region, service, aws4_request, between slashes",
    ),
    "password-hash": Evidence(
        "https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md",
        vendor=True,
        told="Argon2: $ identifier $ m, t, p $ salt of 11 to 64 $ hash of 16 to 86 in base64; not crypt's and Django's",
    ),
    "authorization-header": Evidence(
        "https://rfc-editor.org/info/rfc7617", vendor=True, told="Basic: user and password in base64; not Bearer"
    ),
    "secure-string": Evidence(
        "https://github.com/MicrosoftDocs/PowerShell-Docs/pull/8797/files",
        vendor=True,
        told='ConvertTo-SecureString "..." -AsPlainText, with -Force or (since 7) without',
    ),
    "one-time-password-seed": Evidence(
        "https://github.com/google/google-authenticator/wiki/Key-Uri-Format",
        vendor=True,
        told="otpauth://totp/...?secret= in base32, examples of 16 and 32 characters",
    ),
}

PEOPLE = _NUMBERS | _KEYS | _CODE | _PROGRAMS
"""Rule -> the page."""
