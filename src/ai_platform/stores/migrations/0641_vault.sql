-- What stands behind the tokens of a session: ciphertext only, under a keyed hash of (tenant, person, session). The keys
-- come from the secret in the data folder. tenant and principal_id are for erasure, not for reading.
-- The gateway inserts entries; the view's trigger keeps one of each, so that two replicas that meet the same value at
-- once cannot conflict.
CREATE TABLE aip.vault (
    scope bytea NOT NULL,
    name text NOT NULL,
    sealed bytea NOT NULL,
    tenant text NOT NULL,
    principal_id text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, name)
);
CREATE INDEX vault_expires_at ON aip.vault (expires_at);
CREATE INDEX vault_principal ON aip.vault (principal_id);

CREATE VIEW aip.vault_entries AS
    SELECT scope, name, sealed, tenant, principal_id, expires_at FROM aip.vault;

CREATE FUNCTION aip.keep_vault_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.vault AS kept (scope, name, sealed, tenant, principal_id, expires_at)
    VALUES (NEW.scope, NEW.name, NEW.sealed, NEW.tenant, NEW.principal_id, NEW.expires_at)
    ON CONFLICT (scope, name) DO UPDATE
        SET sealed = excluded.sealed, expires_at = greatest(kept.expires_at, excluded.expires_at);
    RETURN NEW;
END
$$;
GRANT EXECUTE ON FUNCTION aip.keep_vault_entry() TO aip_gateway;

CREATE TRIGGER vault_entries_insert INSTEAD OF INSERT ON aip.vault_entries
    FOR EACH ROW EXECUTE FUNCTION aip.keep_vault_entry();

GRANT SELECT, INSERT, UPDATE, DELETE ON aip.vault TO aip_gateway;
GRANT SELECT, INSERT ON aip.vault_entries TO aip_gateway;
