-- An incident gets an id, says what was done, and whether the person sent the value (shown: it is redacted from then
-- on) or an answer held it (it would still be refused when the person sends it).
ALTER TABLE aip.incidents
    ADD COLUMN id text GENERATED ALWAYS AS ('inc_' || md5(principal_id || '/' || value_hash)) STORED,
    ADD COLUMN tenant text NOT NULL DEFAULT 'default',
    ADD COLUMN data_class text NOT NULL DEFAULT '',
    ADD COLUMN action text NOT NULL DEFAULT '',
    ADD COLUMN path text NOT NULL DEFAULT '',
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN shown boolean NOT NULL DEFAULT true;
CREATE UNIQUE INDEX incidents_id ON aip.incidents (id);
CREATE INDEX incidents_first_seen ON aip.incidents (tenant, first_seen DESC, id DESC);

CREATE OR REPLACE VIEW aip.incident_sightings AS
    SELECT principal_id, value_hash, type, rule, severity, team, call_id, last_seen AS at,
           tenant, data_class, action, path, model, shown
    FROM aip.incidents;

CREATE OR REPLACE FUNCTION aip.record_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.incidents AS known
        (principal_id, value_hash, type, rule, severity, team, call_id, first_seen, last_seen,
         tenant, data_class, action, path, model, shown)
    VALUES
        (NEW.principal_id, NEW.value_hash, NEW.type, NEW.rule, NEW.severity, NEW.team, NEW.call_id, NEW.at, NEW.at,
         coalesce(NEW.tenant, 'default'), coalesce(NEW.data_class, ''), coalesce(NEW.action, ''),
         coalesce(NEW.path, ''), coalesce(NEW.model, ''), coalesce(NEW.shown, true))
    ON CONFLICT (principal_id, value_hash) DO UPDATE
        SET last_seen = greatest(known.last_seen, excluded.last_seen),
            count = known.count + 1,
            shown = known.shown OR excluded.shown,
            status = CASE known.status WHEN 'closed' THEN 'open' ELSE known.status END;
    RETURN NEW;
END
$$;
