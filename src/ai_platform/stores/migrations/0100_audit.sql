-- The audit trail: Merkle logs of canonical JSON leaves. See docs/audit.md for the format.
-- The gateway may add and read, nothing else: even a captured gateway cannot rewrite history, and what the owner
-- rewrites no longer fits the signed checkpoints.

-- One log a writer process at a time (advisory lock); a log is named NAME/audit/SLOT.
CREATE TABLE audit_log (
    slot integer PRIMARY KEY,
    origin text NOT NULL UNIQUE,
    opened_at timestamptz NOT NULL DEFAULT now()
);

-- A log that was found damaged and is written to no more.
CREATE TABLE audit_log_sealed (
    slot integer PRIMARY KEY REFERENCES audit_log,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL
);

-- leaf: the exact bytes that were hashed. The other columns are taken out of it by the statement that inserts, for
-- searching, and compared again by verification. A leaf whose retention has passed keeps only its hash.
CREATE TABLE audit_leaf (
    log integer NOT NULL,
    index bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    call_id text COLLATE "C" NOT NULL,
    subject_ref text COLLATE "C",
    retention text COLLATE "C" NOT NULL,
    expires date NOT NULL,
    leaf bytea,
    leaf_hash bytea,
    PRIMARY KEY (log, index),
    CHECK (num_nonnulls(leaf, leaf_hash) = 1)
);
CREATE INDEX audit_leaf_event ON audit_leaf (event_id);
CREATE INDEX audit_leaf_call ON audit_leaf (call_id) WHERE call_id <> '';
CREATE INDEX audit_leaf_subject ON audit_leaf (subject_ref, event_id) WHERE subject_ref IS NOT NULL;
CREATE INDEX audit_leaf_at ON audit_leaf USING brin (at);

-- Hashes of complete subtrees of 256 leaves, so that a proof reads hundreds of rows and not all of them. Not trusted:
-- a proof is checked against a signed checkpoint before it is handed out.
CREATE TABLE audit_block (
    log integer NOT NULL,
    block bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (log, block)
);

-- note: a C2SP signed note. frontier: the peaks of the tree at that size, largest first, 32 bytes each.
CREATE TABLE audit_checkpoint (
    log integer NOT NULL,
    size bigint NOT NULL,
    note text NOT NULL,
    frontier bytea NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, size)
);

-- The data key of a subject, wrapped by a key that is never in the database. Without this row the subject's personal
-- fields cannot be read any more.
CREATE TABLE audit_subject (
    subject_ref text COLLATE "C" PRIMARY KEY,
    wrapped_key bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- Keyed hashes of e-mail addresses, to find a subject by them.
CREATE TABLE audit_alias (
    alias text COLLATE "C" NOT NULL,
    subject_ref text COLLATE "C" NOT NULL,
    PRIMARY KEY (alias, subject_ref)
);

-- Check values that show whether a replica was started with the keys the others use.
CREATE TABLE audit_key (
    purpose text PRIMARY KEY,
    check_value text NOT NULL
);

-- What a person reads with psql.
CREATE VIEW audit_event AS
SELECT log, index, at, event_type, event_id, call_id, subject_ref, retention, expires,
       convert_from(leaf, 'UTF8')::json -> 'facts' AS facts
FROM audit_leaf;

GRANT SELECT, INSERT ON audit_log, audit_log_sealed, audit_leaf, audit_block, audit_checkpoint, audit_subject,
    audit_alias, audit_key TO aip_gateway;
GRANT SELECT ON audit_event TO aip_gateway;
