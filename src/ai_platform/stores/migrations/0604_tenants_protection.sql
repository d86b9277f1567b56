-- Incidents, isolated. Sightings come by the audit trail's group commit, as the system.
ALTER TABLE incidents ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
CALL isolate('incidents');

DROP VIEW incident_sightings;
CREATE VIEW incident_sightings WITH (security_invoker = true) AS
    SELECT tenant, principal_id, value_hash, type, rule, severity, team, call_id, last_seen AS at FROM incidents;

CREATE OR REPLACE FUNCTION record_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.incidents AS known
        (tenant, principal_id, value_hash, type, rule, severity, team, call_id, first_seen, last_seen)
    VALUES
        (NEW.tenant, NEW.principal_id, NEW.value_hash, NEW.type, NEW.rule, NEW.severity, NEW.team,
         NEW.call_id, NEW.at, NEW.at)
    ON CONFLICT (principal_id, value_hash) DO UPDATE
        SET last_seen = greatest(known.last_seen, excluded.last_seen),
            count = known.count + 1,
            status = CASE known.status WHEN 'closed' THEN 'open' ELSE known.status END;
    RETURN NEW;
END
$$;
CREATE TRIGGER incident_sightings_insert INSTEAD OF INSERT ON incident_sightings
    FOR EACH ROW EXECUTE FUNCTION record_sighting();

REVOKE INSERT ON incidents FROM aip_gateway;
GRANT INSERT ON incidents TO aip_system;
GRANT SELECT, INSERT ON incident_sightings TO aip_system;
