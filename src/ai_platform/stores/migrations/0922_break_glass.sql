-- Local administrators for when every identity provider is down. They are the operator's.

-- password: scrypt with its parameters and salt. totp_secret: encrypted under a secret that is not in the database.
-- totp_step: the thirty seconds of the last code that was taken; none of them or before is taken again. active_at: null
-- until a second factor has been shown to work. failures, failing_since: of sign-ins that came over the network.
CREATE TABLE break_glass_admins (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" NOT NULL,
    password text NOT NULL,
    totp_secret text,
    totp_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    active_at timestamptz,
    last_used_at timestamptz,
    removed_at timestamptz,
    removed_by text COLLATE "C",
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id)
);
CREATE UNIQUE INDEX break_glass_admins_name ON break_glass_admins (tenant, name) WHERE removed_at IS NULL;
CALL isolate('break_glass_admins');

CREATE TABLE break_glass_keys (
    tenant text COLLATE "C" NOT NULL,
    credential_id bytea PRIMARY KEY,
    admin_id text COLLATE "C" NOT NULL REFERENCES break_glass_admins,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX break_glass_keys_admin ON break_glass_keys (admin_id);
CALL isolate('break_glass_keys');

-- What is good once, for minutes: links from the command line and challenges for security keys, as hashes.
CREATE TABLE break_glass_once (
    tenant text COLLATE "C" NOT NULL,
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    admin_id text COLLATE "C" NOT NULL REFERENCES break_glass_admins,
    purpose text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    uses_left integer NOT NULL
);
CREATE INDEX break_glass_once_expires ON break_glass_once (expires_at);
CALL isolate('break_glass_once');

GRANT SELECT, INSERT ON break_glass_admins, break_glass_keys, break_glass_once TO aip_gateway;
GRANT UPDATE (totp_secret, totp_step, active_at, last_used_at, removed_at, removed_by, failures, failing_since)
    ON break_glass_admins TO aip_gateway;
GRANT UPDATE (sign_count, last_used_at), DELETE ON break_glass_keys TO aip_gateway;
GRANT UPDATE (uses_left) ON break_glass_once TO aip_gateway;
GRANT DELETE ON break_glass_once TO aip_system;
