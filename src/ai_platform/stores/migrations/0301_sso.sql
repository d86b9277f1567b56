-- Signing in: who is who at which provider, browser sessions, codes on screens, and what programs hold.

CREATE TABLE sso_identities (
    provider text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" NOT NULL REFERENCES principals,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, subject),
    UNIQUE (provider, principal_id)
);

-- id_hash: HMAC-SHA-256 of the cookie under a secret that is not in the database. account: rights at sign-in.
-- provider_token: the provider's refresh token, encrypted under such a secret too; here and below.
CREATE TABLE sso_sessions (
    id_hash bytea PRIMARY KEY CHECK (length(id_hash) = 32),
    principal_id text COLLATE "C" NOT NULL REFERENCES principals,
    account jsonb NOT NULL,
    provider_token text,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX sso_sessions_principal ON sso_sessions (principal_id);

-- RFC 8628. Both codes are hashes; a code is decided once and used once.
CREATE TABLE sso_devices (
    device_hash bytea PRIMARY KEY CHECK (length(device_hash) = 32),
    user_hash bytea NOT NULL UNIQUE CHECK (length(user_hash) = 32),
    request jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    interval integer NOT NULL,
    polled_at timestamptz,
    decided_at timestamptz,
    approved boolean,
    account jsonb,
    provider_token text,
    used_at timestamptz
);
CREATE INDEX sso_devices_expires ON sso_devices (expires_at);

-- A family of refresh tokens. generation: of the newest one; the tokens themselves are nowhere.
CREATE TABLE sso_grants (
    id text COLLATE "C" PRIMARY KEY,
    principal_id text COLLATE "C" NOT NULL REFERENCES principals,
    account jsonb NOT NULL,
    request jsonb NOT NULL,
    salt bytea NOT NULL CHECK (length(salt) = 32),
    generation integer NOT NULL DEFAULT 1,
    provider_token text,
    created_at timestamptz NOT NULL,
    rotated_at timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,
    checking_until timestamptz,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_why text
);
CREATE INDEX sso_grants_principal ON sso_grants (principal_id);
CREATE INDEX sso_grants_revoked ON sso_grants (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sso_grants_expires ON sso_grants (expires_at);

GRANT SELECT, INSERT ON sso_identities TO aip_gateway;
GRANT SELECT, INSERT, DELETE ON sso_sessions, sso_devices, sso_grants TO aip_gateway;
GRANT UPDATE (seen_at, ended_at, provider_token) ON sso_sessions TO aip_gateway;
GRANT UPDATE (interval, polled_at, decided_at, approved, account, provider_token, used_at) ON sso_devices TO aip_gateway;
GRANT UPDATE (generation, rotated_at, account, provider_token, checked_at, checking_until, revoked_at, revoked_why)
    ON sso_grants TO aip_gateway;
