-- Organisations that share this deployment. Every table that holds an organisation's data has a column `tenant` and is
-- isolated: row-level security shows and takes the rows of one tenant, the one of the transaction. ARCHITECTURE.md, "A
-- new table", says what a later migration does.

CREATE TABLE tenants (
    name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    title text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL,
    disabled_at timestamptz,
    disabled_by text COLLATE "C",
    changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenants (name, title, created_by) VALUES ('default', 'The operator''s own organisation', 'platform');

-- The tenant of this transaction, null without one: a parameter that was set and is over reads as ''.
CREATE FUNCTION tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('ai_platform.tenant', true), '') COLLATE "C" $$;

-- The id or hash that was presented before the tenant is known (a cookie's, a code's), null without one.
CREATE FUNCTION presented() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('ai_platform.presented', true), '') COLLATE "C" $$;

GRANT EXECUTE ON FUNCTION tenant(), presented() TO aip_gateway;

-- For migrations: CALL isolate('mcp_servers'). FORCE, so that it holds for the owner too: a migration that changes rows
-- of an isolated table later says NO FORCE first and FORCE again.
CREATE PROCEDURE isolate(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'tenant' AND attnotnull) THEN
        RAISE EXCEPTION '% has no column "tenant text COLLATE "C" NOT NULL"', target;
    END IF;
    EXECUTE format('ALTER TABLE %s ALTER tenant SET DEFAULT aip.tenant(), ENABLE ROW LEVEL SECURITY,'
                   ' FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY tenant ON %s USING (tenant = aip.tenant()) WITH CHECK (tenant = aip.tenant())', target);
    EXECUTE format('CREATE POLICY system ON %s TO aip_system USING (true) WITH CHECK (true)', target);
END
$$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants FOR SELECT USING (name = aip.tenant());
CREATE POLICY system ON tenants TO aip_system USING (true) WITH CHECK (true);
GRANT SELECT ON tenants TO aip_gateway;
GRANT INSERT, UPDATE (title, disabled_at, disabled_by, changed_at) ON tenants TO aip_system;
