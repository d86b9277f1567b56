-- An incident gets an id (an expression, so that the table is not written anew), says what was done, and whether the person sent the value (shown: it is redacted from then
-- on) or an answer held it (it would still be refused when the person sends it).
ALTER TABLE incidents
    ADD COLUMN data_class text NOT NULL DEFAULT '',
    ADD COLUMN action text NOT NULL DEFAULT '',
    ADD COLUMN path text NOT NULL DEFAULT '',
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN shown boolean NOT NULL DEFAULT true;
CREATE UNIQUE INDEX incidents_id ON incidents (tenant, ('inc_' || md5(principal_id || '/' || value_hash)));
CREATE INDEX incidents_listed ON incidents (tenant, last_seen DESC, principal_id, value_hash);

DROP VIEW incident_sightings;
CREATE VIEW incident_sightings WITH (security_invoker = true) AS
    SELECT tenant, principal_id, value_hash, type, rule, severity, team, call_id, last_seen AS at,
           data_class, action, path, model, shown
    FROM incidents;

CREATE OR REPLACE FUNCTION record_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.incidents AS known
        (tenant, principal_id, value_hash, type, rule, severity, team, call_id, first_seen, last_seen,
         data_class, action, path, model, shown)
    VALUES
        (NEW.tenant, NEW.principal_id, NEW.value_hash, NEW.type, NEW.rule, NEW.severity, NEW.team,
         NEW.call_id, NEW.at, NEW.at, NEW.data_class, NEW.action, NEW.path, NEW.model, NEW.shown)
    ON CONFLICT (principal_id, value_hash) DO UPDATE
        SET last_seen = greatest(known.last_seen, excluded.last_seen),
            count = known.count + 1,
            shown = known.shown OR excluded.shown,
            status = CASE known.status WHEN 'closed' THEN 'open' ELSE known.status END;
    RETURN NEW;
END
$$;
CREATE TRIGGER incident_sightings_insert INSTEAD OF INSERT ON incident_sightings
    FOR EACH ROW EXECUTE FUNCTION record_sighting();
GRANT SELECT, INSERT ON incident_sightings TO aip_system;
