-- The ledger also knows calls of tools: `upstream` is the MCP server, `platform` is `mcp`, and `tool` its tool, prompt
-- or resource. The view has its columns by name, so it is made anew.
ALTER TABLE ledger ADD COLUMN tool text COLLATE "C";
ALTER TABLE open_call ADD COLUMN tool text COLLATE "C";

CREATE OR REPLACE VIEW spend WITH (security_invoker = true) AS
    SELECT * FROM ledger WHERE NOT recovered
    UNION ALL
    SELECT * FROM ledger r
    WHERE recovered AND NOT EXISTS (SELECT FROM ledger o WHERE o.call_id = r.call_id AND NOT o.recovered);
