-- The ledger: one row for each call that was executed. Append-only for the gateway. No personal text: people are ids.
CREATE TABLE ledger (
    call_id text COLLATE "C" NOT NULL,
    -- A call whose process died has a recovered row with the estimate. If the outcome comes after all, both are kept
    -- and the view `spend` counts the outcome.
    recovered boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    team text COLLATE "C",
    project text COLLATE "C",
    key_id text COLLATE "C",
    session_id text COLLATE "C",
    agent_id text COLLATE "C",
    operation text COLLATE "C" NOT NULL,
    counted boolean NOT NULL DEFAULT true,
    model_asked text COLLATE "C",
    model_served text COLLATE "C",
    upstream text COLLATE "C" NOT NULL DEFAULT '',
    platform text COLLATE "C" NOT NULL DEFAULT '',
    region text COLLATE "C" NOT NULL DEFAULT '',
    status integer NOT NULL,
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    cache_read_tokens bigint NOT NULL CHECK (cache_read_tokens >= 0),
    cache_write_5m_tokens bigint NOT NULL CHECK (cache_write_5m_tokens >= 0),
    cache_write_1h_tokens bigint NOT NULL CHECK (cache_write_1h_tokens >= 0),
    thinking_tokens bigint NOT NULL DEFAULT 0,
    web_searches integer NOT NULL DEFAULT 0,
    web_fetches integer NOT NULL DEFAULT 0,
    -- Those tokens that count against token limits.
    limited_tokens bigint NOT NULL CHECK (limited_tokens >= 0),
    tier text COLLATE "C" NOT NULL DEFAULT 'standard',
    speed text COLLATE "C" NOT NULL DEFAULT 'standard',
    geo text COLLATE "C" NOT NULL DEFAULT '',
    micros bigint NOT NULL CHECK (micros >= 0),
    price_rows text NOT NULL DEFAULT '',
    unknown_price boolean NOT NULL DEFAULT false,
    estimated boolean NOT NULL DEFAULT false,
    interrupted boolean NOT NULL DEFAULT false,
    simulated boolean NOT NULL DEFAULT false,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call_id, recovered)
);
CREATE INDEX ledger_at ON ledger (at);
CREATE INDEX ledger_recovered ON ledger (at) WHERE recovered;

-- A write that is tried again because its answer was lost must neither count twice nor fail: the first row stays.
CREATE FUNCTION keep_first_ledger_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM aip.ledger WHERE call_id = NEW.call_id AND recovered = NEW.recovered) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_first BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION keep_first_ledger_row();

-- Two branches, so that only the few recovered rows are looked up for an outcome.
CREATE VIEW spend WITH (security_invoker = true) AS
    SELECT * FROM ledger WHERE NOT recovered
    UNION ALL
    SELECT * FROM ledger r
    WHERE recovered AND NOT EXISTS (SELECT FROM ledger o WHERE o.call_id = r.call_id AND NOT o.recovered);

-- Calls in flight, written with their intent: what a call is settled by when its process dies. A call that has its
-- ledger row is no longer open; its row here is swept away.
CREATE TABLE open_call (
    call_id text COLLATE "C" PRIMARY KEY,
    process text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    team text COLLATE "C",
    project text COLLATE "C",
    key_id text COLLATE "C",
    session_id text COLLATE "C",
    agent_id text COLLATE "C",
    operation text COLLATE "C" NOT NULL,
    counted boolean NOT NULL DEFAULT true,
    model_asked text COLLATE "C",
    upstream text COLLATE "C" NOT NULL DEFAULT '',
    platform text COLLATE "C" NOT NULL DEFAULT '',
    region text COLLATE "C" NOT NULL DEFAULT '',
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    limited_tokens bigint NOT NULL,
    micros bigint NOT NULL,
    price_rows text NOT NULL DEFAULT '',
    unknown_price boolean NOT NULL DEFAULT false,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- Which gateway processes live. slot: what only one process at a time can be (its data folder, its pod).
CREATE TABLE gateway_process (
    process text COLLATE "C" PRIMARY KEY,
    slot text COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT ON ledger TO aip_gateway;
GRANT SELECT ON spend TO aip_gateway;
GRANT SELECT, INSERT, DELETE ON open_call TO aip_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_process TO aip_gateway;
