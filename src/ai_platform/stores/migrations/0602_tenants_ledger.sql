-- The ledger, isolated. What answers a request reads it; rows come by the audit trail's group commit, as the system.
CALL isolate('ledger');
CALL isolate('open_call');
REVOKE INSERT ON ledger FROM aip_gateway;
REVOKE ALL ON open_call, gateway_process FROM aip_gateway;
GRANT INSERT ON ledger TO aip_system;
GRANT SELECT, INSERT, DELETE ON open_call TO aip_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_process TO aip_system;
