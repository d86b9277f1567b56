-- The authorisation server: codes that a browser carries to a program, and what the program was given access to.

-- code_hash: HMAC-SHA-256 of the code under a secret that is not in the database. A code is redeemed once; when it comes
-- again, grant_id says what has to end.
CREATE TABLE sso_codes (
    tenant text COLLATE "C" NOT NULL,
    code_hash bytea PRIMARY KEY CHECK (length(code_hash) = 32),
    principal_id text COLLATE "C" NOT NULL,
    client_id text NOT NULL,
    client_name text NOT NULL,
    redirect_uri text NOT NULL,
    challenge text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    scopes text[] NOT NULL,
    account jsonb NOT NULL,
    provider_token text,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    grant_id text COLLATE "C",
    FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id)
);
CREATE INDEX sso_codes_expires ON sso_codes (expires_at);
CALL isolate('sso_codes');
CREATE TRIGGER begins BEFORE INSERT ON sso_codes FOR EACH ROW EXECUTE FUNCTION begin_for_principal();
CREATE POLICY presented ON sso_codes FOR SELECT USING (code_hash = aip.presented()::bytea);
CREATE POLICY presented_change ON sso_codes FOR UPDATE USING (code_hash = aip.presented()::bytea);

-- client_id: whose refresh tokens these are, null for programs that signed in by a code on a screen. resource: the path
-- that its access tokens are for, '' = the API. scopes: what narrows them below the person's rights.
ALTER TABLE sso_grants ADD COLUMN client_id text, ADD COLUMN client_name text,
    ADD COLUMN resource text COLLATE "C" NOT NULL DEFAULT '', ADD COLUMN scopes text[] NOT NULL DEFAULT '{}';

GRANT SELECT, INSERT, UPDATE (used_at, grant_id, provider_token) ON sso_codes TO aip_gateway;
GRANT SELECT, DELETE ON sso_codes TO aip_system;
