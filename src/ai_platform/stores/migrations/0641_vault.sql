-- What stands behind the tokens of a session: ciphertext only, under a keyed hash of (tenant, person, session). The keys
-- come from the secret in the data folder. principal_id is for erasure.
-- Entries come by the audit trail's group commit, as the system; the view's trigger keeps one of each, so that two
-- replicas that meet the same value at once cannot conflict.
CREATE TABLE vault (
    tenant text COLLATE "C" NOT NULL,
    scope bytea NOT NULL,
    name text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    principal_id text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, scope, name)
);
CREATE INDEX vault_expires_at ON vault (expires_at);
CREATE INDEX vault_principal ON vault (principal_id);
CALL isolate('vault');

CREATE VIEW vault_entries WITH (security_invoker = true) AS
    SELECT tenant, scope, name, sealed, principal_id, expires_at FROM vault;

CREATE FUNCTION keep_vault_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.vault AS kept (tenant, scope, name, sealed, principal_id, expires_at)
    VALUES (NEW.tenant, NEW.scope, NEW.name, NEW.sealed, NEW.principal_id, NEW.expires_at)
    ON CONFLICT (tenant, scope, name) DO UPDATE
        SET sealed = excluded.sealed, expires_at = greatest(kept.expires_at, excluded.expires_at);
    RETURN NEW;
END
$$;
GRANT EXECUTE ON FUNCTION keep_vault_entry() TO aip_system;
CREATE TRIGGER vault_entries_insert INSTEAD OF INSERT ON vault_entries
    FOR EACH ROW EXECUTE FUNCTION keep_vault_entry();

GRANT SELECT ON vault TO aip_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault TO aip_system;
GRANT SELECT, INSERT ON vault_entries TO aip_system;
