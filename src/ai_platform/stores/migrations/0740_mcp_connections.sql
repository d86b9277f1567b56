-- Accounts at MCP servers. principal_id: whose it is, '' = the platform's own. sealed: token, refresh token and how to
-- renew them, encrypted and bound to tenant, server, its address and the principal: a row that is moved, or a server
-- that is pointed elsewhere, opens nothing.
CREATE TABLE mcp_connections (
    tenant text COLLATE "C" NOT NULL,
    server text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('oauth', 'token')),
    issuer text,
    sealed text NOT NULL,
    expires_at timestamptz,
    connected_at timestamptz NOT NULL,
    connected_by text COLLATE "C" NOT NULL,
    changed_at timestamptz NOT NULL,
    renewing_until timestamptz,
    problem text,
    PRIMARY KEY (tenant, server, principal_id)
);
CALL isolate('mcp_connections');

-- What this platform is at the authorisation server of an MCP server, where it registered itself.
CREATE TABLE mcp_clients (
    tenant text COLLATE "C" NOT NULL,
    server text COLLATE "C" NOT NULL,
    issuer text NOT NULL,
    sealed text NOT NULL,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, server, issuer)
);
CALL isolate('mcp_clients');

GRANT SELECT, INSERT, DELETE, UPDATE (kind, issuer, sealed, expires_at, connected_at, connected_by, changed_at,
    renewing_until, problem) ON mcp_connections TO aip_gateway;
GRANT SELECT, INSERT, DELETE, UPDATE (sealed, registered_at) ON mcp_clients TO aip_gateway;
GRANT SELECT, DELETE ON mcp_connections TO aip_system;
