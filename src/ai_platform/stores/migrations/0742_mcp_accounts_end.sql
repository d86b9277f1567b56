-- Who is removed leaves no credential behind, whoever removes them; and none begins for who has ended.
CREATE FUNCTION end_mcp_connections() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM aip.mcp_connections WHERE tenant = NEW.tenant AND principal_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER ends_mcp_connections AFTER UPDATE OF state ON principals FOR EACH ROW
    WHEN (OLD.state <> 'removed' AND NEW.state = 'removed') EXECUTE FUNCTION end_mcp_connections();
CREATE TRIGGER begins BEFORE INSERT ON mcp_connections FOR EACH ROW
    WHEN (NEW.principal_id <> '') EXECUTE FUNCTION begin_for_principal();
GRANT EXECUTE ON FUNCTION end_mcp_connections() TO aip_gateway;
GRANT UPDATE (sealed) ON mcp_connections TO aip_system;
GRANT SELECT, DELETE, UPDATE (sealed) ON mcp_clients TO aip_system;
