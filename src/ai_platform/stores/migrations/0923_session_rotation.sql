-- A browser session that goes on gets another id from time to time: the row stays, so that every end finds it.

-- prior_hash: of the id before, for requests that were under way. origin_hash: of the first id, what forms are bound to.
-- issued_at: when the id in force was given; nothing = with the session.
ALTER TABLE sso_sessions
    ADD COLUMN prior_hash bytea CHECK (length(prior_hash) = 32),
    ADD COLUMN origin_hash bytea CHECK (length(origin_hash) = 32),
    ADD COLUMN issued_at timestamptz;
CREATE UNIQUE INDEX sso_sessions_prior ON sso_sessions (prior_hash) WHERE prior_hash IS NOT NULL;

CREATE POLICY presented_prior ON sso_sessions FOR SELECT USING (prior_hash = aip.presented()::bytea);
CREATE POLICY presented_prior_change ON sso_sessions FOR UPDATE USING (prior_hash = aip.presented()::bytea);

GRANT UPDATE (id_hash, prior_hash, origin_hash, issued_at) ON sso_sessions TO aip_gateway;
