-- The audit trail, isolated. An event without a tenant (the platform's own, a caller nobody knows) is the operator's.
ALTER TABLE audit_leaf ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
CALL isolate('audit_leaf');

-- A view reads with its owner's rights unless told otherwise.
DROP VIEW audit_event;
CREATE VIEW audit_event WITH (security_invoker = true) AS
SELECT log, index, at, event_type, event_id, call_id, subject_ref, retention, expires, tenant,
       convert_from(leaf, 'UTF8')::json -> 'facts' AS facts
FROM audit_leaf;
GRANT SELECT ON audit_event TO aip_gateway;

-- The logs are one for all tenants: their hashes, checkpoints and keys are the system's alone.
REVOKE ALL ON audit_log, audit_log_sealed, audit_leaf, audit_block, audit_checkpoint, audit_subject, audit_alias,
    audit_key FROM aip_gateway;
GRANT SELECT ON audit_leaf TO aip_gateway;
GRANT SELECT, INSERT ON audit_log, audit_log_sealed, audit_leaf, audit_block, audit_checkpoint, audit_subject,
    audit_alias, audit_key TO aip_system;
