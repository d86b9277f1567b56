-- ON CONFLICT watches one unique index: two replicas that met the same new value at once could fail on the other one.
-- The id is made of the primary key, so it is unique without being told.
DROP INDEX incidents_id;
CREATE INDEX incidents_id ON incidents (tenant, ('inc_' || md5(principal_id || '/' || value_hash)));
