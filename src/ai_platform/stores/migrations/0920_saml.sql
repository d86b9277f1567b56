-- SAML 2.0: requests under way, our keys.

-- A request is answered once (used_at), and what its answer said is taken once (finished_at) by the browser that holds
-- both the cookie of the request and the ticket that the answer was exchanged for. It belongs to nobody until then, so
-- it has no tenant; who has its identifier reaches it, and nobody can list them. All are keyed hashes.
CREATE TABLE saml_requests (
    id_hash bytea PRIMARY KEY CHECK (length(id_hash) = 32),
    provider text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    ticket_hash bytea CHECK (length(ticket_hash) = 32),
    person jsonb,
    finished_at timestamptz
);
CREATE INDEX saml_requests_expires ON saml_requests (expires_at);
ALTER TABLE saml_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY presented ON saml_requests USING (id_hash = aip.presented()::bytea);
CREATE POLICY system ON saml_requests TO aip_system USING (true) WITH CHECK (true);

-- private_key: encrypted under a secret that is not in the database. current signs; next is shown beside it while the
-- providers learn it. Both open what was encrypted for us. They are the operator's.
CREATE TABLE saml_keys (
    tenant text COLLATE "C" NOT NULL,
    state text NOT NULL CHECK (state IN ('current', 'next')),
    certificate text NOT NULL,
    private_key text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, state)
);
CALL isolate('saml_keys');

GRANT SELECT, INSERT ON saml_requests TO aip_gateway;
GRANT UPDATE (expires_at, used_at, ticket_hash, person, finished_at) ON saml_requests TO aip_gateway;
GRANT DELETE ON saml_requests TO aip_system;
GRANT SELECT, INSERT, DELETE, UPDATE (state) ON saml_keys TO aip_gateway;
