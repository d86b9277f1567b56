-- Calls that wait for somebody's consent, and what became of them. A request is for one exact call (`digest`), once.

-- state: pending -> approved -> used; pending -> denied; pending or approved -> expired or void.
-- digest: SHA-256 of what exactly was asked, by whom, under which version of the policy.
-- person: keyed hash of the caller's e-mail address, to know the same person behind another account.
-- shown: what the approver reads (arguments with findings masked), encrypted; removed some time after the end.
CREATE TABLE approvals (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    state text COLLATE "C" NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'approved', 'used', 'denied', 'expired', 'void')),
    rule text NOT NULL,
    approvers text[] NOT NULL,
    covers text COLLATE "C" NOT NULL CHECK (covers IN ('call', 'session')),
    policy_version text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" NOT NULL,
    key_id text COLLATE "C",
    person bytea,
    team text,
    door text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    server text,
    tool text,
    model text,
    call_id text COLLATE "C" NOT NULL,
    tool_use_id text,
    session_id text,
    shown bytea,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text COLLATE "C",
    decided_key text COLLATE "C",
    note text,
    used_at timestamptz,
    used_by text COLLATE "C",
    uses integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id),
    CHECK (state NOT IN ('approved', 'used', 'denied') OR decided_by IS NOT NULL),
    CHECK (decided_by IS DISTINCT FROM principal_id),
    CHECK (covers = 'session' OR uses <= 1)
);
CALL isolate('approvals');

-- One open request for one exact call, however often and wherever it is made.
CREATE UNIQUE INDEX approvals_open ON approvals (tenant, digest) WHERE state IN ('pending', 'approved');
CREATE INDEX approvals_digest ON approvals (tenant, digest, requested_at);
CREATE INDEX approvals_recent ON approvals (tenant, requested_at);
CREATE INDEX approvals_ending ON approvals (expires_at) WHERE state IN ('pending', 'approved');
CREATE INDEX approvals_shown ON approvals (requested_at) WHERE shown IS NOT NULL;

-- What was asked cannot be changed afterwards, and no request can be made to vanish.
GRANT SELECT, INSERT, UPDATE (state, expires_at, decided_at, decided_by, decided_key, note, used_at, used_by, uses)
    ON approvals TO aip_gateway;
GRANT SELECT, UPDATE (state, shown) ON approvals TO aip_system;
