-- Service accounts that come with a token of another issuer.

-- Tokens that were exchanged once, until they expire: SHA-256 of issuer and `jti`, or of what was signed without one.
CREATE TABLE sso_assertions (
    tenant text COLLATE "C" NOT NULL,
    assertion_hash bytea PRIMARY KEY CHECK (length(assertion_hash) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sso_assertions_expires ON sso_assertions (expires_at);
CALL isolate('sso_assertions');

-- Service accounts that get no tokens by exchange until they are enabled again.
CREATE TABLE sso_disabled_services (
    tenant text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" PRIMARY KEY,
    disabled_at timestamptz NOT NULL,
    disabled_by text COLLATE "C" NOT NULL,
    FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id)
);
CALL isolate('sso_disabled_services');

-- refreshable: false for what was exchanged; then there is no refresh token.
ALTER TABLE sso_grants ADD COLUMN refreshable boolean NOT NULL DEFAULT true;

GRANT SELECT, INSERT ON sso_assertions TO aip_gateway;
GRANT SELECT, DELETE ON sso_assertions TO aip_system;
GRANT SELECT, INSERT, DELETE ON sso_disabled_services TO aip_gateway;
