-- Teams and projects have names of their own, and a person may belong to a team. A name that is used for the first time
-- (by a key, a rule of sign-in, a provisioned group) is made, so that nobody has to declare anything.

CREATE TABLE teams (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    title text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text COLLATE "C" NOT NULL DEFAULT 'platform',
    PRIMARY KEY (tenant, name)
);
CREATE TABLE projects (LIKE teams INCLUDING ALL);

ALTER TABLE keys NO FORCE ROW LEVEL SECURITY;
INSERT INTO teams (tenant, name) SELECT DISTINCT tenant, team FROM keys WHERE team IS NOT NULL;
INSERT INTO projects (tenant, name) SELECT DISTINCT tenant, project FROM keys WHERE project IS NOT NULL;
ALTER TABLE keys FORCE ROW LEVEL SECURITY;

CALL isolate('teams');
CALL isolate('projects');
GRANT SELECT, INSERT, DELETE, UPDATE (title) ON teams, projects TO aip_gateway;

-- team: whose limits apply where neither a key nor the identity provider names one.
ALTER TABLE principals ADD COLUMN team text COLLATE "C";
ALTER TABLE principals ADD FOREIGN KEY (tenant, team) REFERENCES teams;
CREATE INDEX principals_team ON principals (tenant, team) WHERE team IS NOT NULL;
GRANT UPDATE (team) ON principals TO aip_gateway;

CREATE FUNCTION know_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.teams (tenant, name) VALUES (NEW.tenant, NEW.team) ON CONFLICT DO NOTHING;
    RETURN NEW;
END
$$;
CREATE FUNCTION know_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.projects (tenant, name) VALUES (NEW.tenant, NEW.project) ON CONFLICT DO NOTHING;
    RETURN NEW;
END
$$;
CREATE TRIGGER know_team BEFORE INSERT OR UPDATE OF team ON principals FOR EACH ROW
    WHEN (NEW.team IS NOT NULL) EXECUTE FUNCTION know_team();
CREATE TRIGGER know_team BEFORE INSERT ON keys FOR EACH ROW WHEN (NEW.team IS NOT NULL) EXECUTE FUNCTION know_team();
CREATE TRIGGER know_project BEFORE INSERT ON keys FOR EACH ROW
    WHEN (NEW.project IS NOT NULL) EXECUTE FUNCTION know_project();

-- Every process hears of it by the keys that changed.
CREATE FUNCTION change_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE aip.keys SET changed_at = now() WHERE principal_id = NEW.id AND team IS NULL AND revoked_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER change_team AFTER UPDATE OF team ON principals FOR EACH ROW
    WHEN (OLD.team IS DISTINCT FROM NEW.team) EXECUTE FUNCTION change_team();
GRANT EXECUTE ON FUNCTION know_team(), know_project(), change_team() TO aip_gateway;

CREATE OR REPLACE FUNCTION key_presented(wanted text) RETURNS TABLE (
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
        coalesce(found.team, p.team), found.project, found.tenant, found.created_at, found.created_by,
        found.expires_at, found.revoked_at, found.last_used_at, found.changed_at, found.secret_hash
        FROM aip.principals AS p WHERE p.id = found.principal_id;
    PERFORM set_config('ai_platform.presented', '', true);
END
$$;
