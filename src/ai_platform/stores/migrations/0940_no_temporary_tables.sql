-- Nobody but the database's owner makes temporary tables here: the platform needs none, and names in pg_temp are found
-- before those of any other schema. Where the migrating role is not the owner, PostgreSQL warns and nothing changes.
DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$;
