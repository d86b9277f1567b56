-- One incident per person and value; the value itself is never stored, only its keyed hash.
-- The gateway inserts sightings; the view's trigger turns them into one incident with a count, so that two replicas
-- that see the same value at once cannot conflict.
CREATE TABLE aip.incidents (
    principal_id text NOT NULL,
    value_hash text NOT NULL,
    type text NOT NULL,
    rule text NOT NULL,
    severity text NOT NULL,
    team text,
    call_id text NOT NULL DEFAULT '',
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    count bigint NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'ack', 'closed')),
    PRIMARY KEY (principal_id, value_hash)
);
CREATE INDEX incidents_last_seen ON aip.incidents (last_seen DESC);

CREATE VIEW aip.incident_sightings AS
    SELECT principal_id, value_hash, type, rule, severity, team, call_id, last_seen AS at
    FROM aip.incidents;

CREATE FUNCTION aip.record_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO aip.incidents AS known
        (principal_id, value_hash, type, rule, severity, team, call_id, first_seen, last_seen)
    VALUES
        (NEW.principal_id, NEW.value_hash, NEW.type, NEW.rule, NEW.severity, NEW.team,
         NEW.call_id, NEW.at, NEW.at)
    ON CONFLICT (principal_id, value_hash) DO UPDATE
        SET last_seen = greatest(known.last_seen, excluded.last_seen),
            count = known.count + 1,
            status = CASE known.status WHEN 'closed' THEN 'open' ELSE known.status END;
    RETURN NEW;
END
$$;
GRANT EXECUTE ON FUNCTION aip.record_sighting() TO aip_gateway;

CREATE TRIGGER incident_sightings_insert INSTEAD OF INSERT ON aip.incident_sightings
    FOR EACH ROW EXECUTE FUNCTION aip.record_sighting();

GRANT SELECT, INSERT, UPDATE ON aip.incidents TO aip_gateway;
GRANT SELECT, INSERT ON aip.incident_sightings TO aip_gateway;
