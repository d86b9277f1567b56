-- Without a transaction: each statement by itself, so that writers go on while an index is built.
-- The events and the spend of a tenant that is not the operator's, however many its neighbours have. An installation
-- without other tenants pays nothing for them: their rows are not in the indexes.

DROP INDEX CONCURRENTLY IF EXISTS aip.audit_leaf_tenant;
CREATE INDEX CONCURRENTLY audit_leaf_tenant ON aip.audit_leaf (tenant, event_id) WHERE tenant <> 'default';

DROP INDEX CONCURRENTLY IF EXISTS aip.ledger_tenant;
CREATE INDEX CONCURRENTLY ledger_tenant ON aip.ledger (tenant, at) WHERE tenant <> 'default';
