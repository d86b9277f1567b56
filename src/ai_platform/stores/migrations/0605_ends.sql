-- People are suspended (may come back) or removed; organisations are disabled. Whoever sets it, everything ends in the
-- same transaction: the triggers are the one place that knows what there is to end.

ALTER TABLE principals ADD FOREIGN KEY (tenant) REFERENCES tenants;
ALTER TABLE principals
    ADD COLUMN state text COLLATE "C" NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'removed')),
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN ended_by text COLLATE "C",
    ADD CHECK ((state = 'active') = (ended_at IS NULL));
CREATE INDEX principals_ended ON principals (ended_at) WHERE ended_at IS NOT NULL;

CREATE FUNCTION end_principal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE aip.keys SET revoked_at = now(), revoked_by = NEW.ended_by, changed_at = now()
        WHERE principal_id = NEW.id AND revoked_at IS NULL;
    UPDATE aip.sso_sessions SET ended_at = now(), provider_token = NULL
        WHERE principal_id = NEW.id AND ended_at IS NULL;
    UPDATE aip.sso_grants SET revoked_at = now(), revoked_why = 'the person was ' || NEW.state, provider_token = NULL
        WHERE principal_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER ends AFTER UPDATE OF ended_at ON principals FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION end_principal();

-- Nothing begins for who has ended. The lock makes an end that happens at this moment wait, and then see this row; or
-- makes this wait, and then see the end.
CREATE FUNCTION begin_for_principal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM aip.principals WHERE id = NEW.principal_id AND state = 'active' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'principal % is not active', NEW.principal_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF EXISTS (SELECT FROM aip.tenants WHERE name = NEW.tenant AND disabled_at IS NOT NULL) THEN
        RAISE EXCEPTION 'tenant % is disabled', NEW.tenant USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER begins BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION begin_for_principal();
CREATE TRIGGER begins BEFORE INSERT ON sso_sessions FOR EACH ROW EXECUTE FUNCTION begin_for_principal();
CREATE TRIGGER begins BEFORE INSERT ON sso_grants FOR EACH ROW EXECUTE FUNCTION begin_for_principal();

-- Keys stay: they are refused while their organisation is disabled and work again when it no longer is.
CREATE FUNCTION end_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE aip.sso_sessions SET ended_at = now(), provider_token = NULL
        WHERE tenant = NEW.name AND ended_at IS NULL;
    UPDATE aip.sso_grants SET revoked_at = now(), revoked_why = 'the organisation was disabled', provider_token = NULL
        WHERE tenant = NEW.name AND revoked_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER ends AFTER UPDATE OF disabled_at ON tenants FOR EACH ROW
    WHEN (OLD.disabled_at IS NULL AND NEW.disabled_at IS NOT NULL) EXECUTE FUNCTION end_tenant();

GRANT UPDATE (name, email, handle, state, ended_at, ended_by) ON principals TO aip_gateway;
GRANT EXECUTE ON FUNCTION end_principal(), begin_for_principal(), end_tenant() TO aip_gateway;
