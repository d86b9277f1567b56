-- Identity and sign-in, isolated. A constant default is not a rewrite, so each lock is held for a moment only.

CALL isolate('principals');
CALL isolate('keys');

-- A key cannot name somebody of another tenant, whatever a statement says.
ALTER TABLE principals ADD UNIQUE (tenant, id);
ALTER TABLE keys ADD FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id);

-- A key is looked up before its tenant is known: by its whole id, one row, in one round trip.
CREATE POLICY presented ON principals FOR SELECT USING (id = aip.presented());
CREATE POLICY presented ON keys FOR SELECT USING (id = aip.presented());

CREATE FUNCTION key_presented(wanted text) RETURNS TABLE (
    id text, name text, kind text, principal_id text, owner text, email text, roles text[], scopes text[], team text,
    project text, tenant text, created_at timestamptz, created_by text, expires_at timestamptz,
    revoked_at timestamptz, last_used_at timestamptz, changed_at timestamptz, secret_hash bytea
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found aip.keys;
BEGIN
    PERFORM set_config('ai_platform.presented', wanted, true);
    SELECT * INTO found FROM aip.keys AS k WHERE k.id = wanted;
    PERFORM set_config('ai_platform.presented', found.principal_id, true);
    RETURN QUERY SELECT found.id, found.name, p.kind, found.principal_id, p.name, p.email, found.roles, found.scopes,
        found.team, found.project, found.tenant, found.created_at, found.created_by, found.expires_at,
        found.revoked_at, found.last_used_at, found.changed_at, found.secret_hash
        FROM aip.principals AS p WHERE p.id = found.principal_id;
    PERFORM set_config('ai_platform.presented', '', true);
END
$$;
GRANT EXECUTE ON FUNCTION key_presented(text) TO aip_gateway;

ALTER TABLE sso_identities ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE sso_sessions ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE sso_grants ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
CALL isolate('sso_identities');
CALL isolate('sso_sessions');
CALL isolate('sso_grants');
ALTER TABLE sso_identities ADD FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id);
ALTER TABLE sso_sessions ADD FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id);
ALTER TABLE sso_grants ADD FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id);

-- Cookies, refresh tokens and a provider's word arrive without a tenant: the row of exactly this hash or id, to read
-- and, of the first two, to end.
CREATE POLICY presented ON sso_sessions FOR SELECT USING (id_hash = aip.presented()::bytea);
CREATE POLICY presented_change ON sso_sessions FOR UPDATE USING (id_hash = aip.presented()::bytea);
CREATE POLICY presented ON sso_identities FOR SELECT USING (provider || ' ' || subject = aip.presented());
CREATE POLICY presented ON sso_grants FOR SELECT USING (id = aip.presented());
CREATE POLICY presented_change ON sso_grants FOR UPDATE USING (id = aip.presented());

-- A code on a screen belongs to nobody until it is approved, so it has no tenant; who has one of its two codes reaches
-- it, and nobody can list them.
ALTER TABLE sso_devices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY presented ON sso_devices
    USING (device_hash = aip.presented()::bytea OR user_hash = aip.presented()::bytea);
CREATE POLICY system ON sso_devices TO aip_system USING (true) WITH CHECK (true);
