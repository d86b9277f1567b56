-- Which calls belong together: the answer of a model that asked for a tool, and the call of that tool, by the id of the
-- tool_use. Without a unique key: a row that comes twice must not hold up the events it travels with.
CREATE TABLE tool_uses (
    tenant text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    tool_use_id text COLLATE "C" NOT NULL,
    call_id text COLLATE "C" NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tool_uses_id ON tool_uses (tenant, tool_use_id);
CREATE INDEX tool_uses_call ON tool_uses (tenant, call_id);
CALL isolate('tool_uses');
GRANT SELECT ON tool_uses TO aip_gateway;
GRANT SELECT, INSERT ON tool_uses TO aip_system;
