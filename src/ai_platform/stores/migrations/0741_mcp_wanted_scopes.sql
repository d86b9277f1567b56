-- Scopes that a server asked for beyond those that were agreed to; the next agreement asks for them.
ALTER TABLE mcp_connections ADD wanted text[] COLLATE "C" NOT NULL DEFAULT '{}';
GRANT UPDATE (wanted) ON mcp_connections TO aip_gateway;
