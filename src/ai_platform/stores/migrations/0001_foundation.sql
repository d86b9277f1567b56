-- The schema of the platform. The role aip_gateway exists already: it belongs to the whole server, so it is made
-- before the migrations of a database. Rights are given by name: each later migration grants the gateway what it
-- needs on its own tables, nothing more.
CREATE SCHEMA IF NOT EXISTS aip;
REVOKE ALL ON SCHEMA aip FROM PUBLIC;
GRANT USAGE ON SCHEMA aip TO aip_gateway;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA aip GRANT USAGE ON SEQUENCES TO aip_gateway;
