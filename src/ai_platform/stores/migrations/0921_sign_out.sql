-- Sign-out started by the provider: it names one of its sign-ins (sid) or one of its people.

-- sid_hash: keyed hash of provider and sid. id_token: the provider's, encrypted, to be shown to it when the person
-- signs out there too.
ALTER TABLE sso_sessions ADD COLUMN sid_hash bytea CHECK (length(sid_hash) = 32), ADD COLUMN id_token text;
ALTER TABLE sso_grants ADD COLUMN sid_hash bytea CHECK (length(sid_hash) = 32);
CREATE INDEX sso_sessions_sid ON sso_sessions (sid_hash) WHERE sid_hash IS NOT NULL;
CREATE INDEX sso_grants_sid ON sso_grants (sid_hash) WHERE sid_hash IS NOT NULL;

-- The provider's word arrives without a tenant: all that came of exactly this sign-in.
CREATE POLICY presented_sid ON sso_sessions FOR SELECT USING (sid_hash = aip.presented()::bytea);
CREATE POLICY presented_sid_change ON sso_sessions FOR UPDATE USING (sid_hash = aip.presented()::bytea);
CREATE POLICY presented_sid ON sso_grants FOR SELECT USING (sid_hash = aip.presented()::bytea);
CREATE POLICY presented_sid_change ON sso_grants FOR UPDATE USING (sid_hash = aip.presented()::bytea);
