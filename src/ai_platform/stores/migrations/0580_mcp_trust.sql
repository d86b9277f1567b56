-- MCP servers added to a running platform, which definitions of servers are approved, and who is quarantined. Servers
-- are the operator's, not an organisation's: each says itself which tenants may see it.

-- settings: as in the configuration file. removed_at: the other replicas learn of the end by it.
CREATE TABLE mcp_servers (
    name text COLLATE "C" PRIMARY KEY,
    settings jsonb NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    added_by text COLLATE "C" NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz,
    removed_by text COLLATE "C"
);

-- One row a server, also for those of the configuration file. version: grows with every decision about the server, so
-- that replicas notice it. seen: the kinds of definitions that were looked at once.
CREATE TABLE mcp_trust (
    server text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    seen text[] NOT NULL DEFAULT '{}',
    quarantine text,
    quarantined_at timestamptz,
    quarantined_by text COLLATE "C"
);

-- One row a definition. approved: what may be shown; held: what the server says now, when it is something else.
CREATE TABLE mcp_pins (
    server text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    approved_digest text COLLATE "C",
    approved jsonb,
    approved_at timestamptz,
    approved_by text COLLATE "C",
    held_digest text COLLATE "C",
    held jsonb,
    held_flags jsonb,
    held_at timestamptz,
    PRIMARY KEY (server, kind, name),
    CHECK (approved_digest IS NOT NULL OR held_digest IS NOT NULL)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON mcp_servers, mcp_trust, mcp_pins TO aip_system;
