-- Who may call: principals (people and service accounts) and their platform keys.

-- handle: what makes a principal the same one again: the e-mail in lower case, `name:...` for a person without one,
-- `service:...` for a service account.
CREATE TABLE principals (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL DEFAULT 'default',
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('person', 'service')),
    handle text COLLATE "C" NOT NULL,
    name text NOT NULL,
    email text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, handle)
);

-- secret_hash: HMAC-SHA-256 of the whole key under a secret that is not in the database. The key itself is nowhere.
-- changed_at: of everything but last_used_at; the other replicas look for recent changes by it.
CREATE TABLE keys (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL DEFAULT 'default',
    principal_id text COLLATE "C" NOT NULL REFERENCES principals,
    name text NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    roles text[] NOT NULL,
    team text,
    project text,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text COLLATE "C",
    last_used_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX keys_name ON keys (tenant, lower(name)) WHERE revoked_at IS NULL;
CREATE INDEX keys_principal ON keys (principal_id);
CREATE INDEX keys_changed ON keys (changed_at);

-- A key can be added, used and revoked; what it may do cannot be changed and it cannot be made to vanish.
GRANT SELECT, INSERT ON principals, keys TO aip_gateway;
GRANT UPDATE (revoked_at, revoked_by, last_used_at, changed_at) ON keys TO aip_gateway;
