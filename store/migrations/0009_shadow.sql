-- A shadow policy: what another policy file would do with the live signals. Nothing is ever sent from here.

-- A row: a policy file that was tried, known by the digest of what it says.
CREATE TABLE shadow_policies (
    policy TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    content JSONB NOT NULL
);

-- What it would do: a row per (signal, trigger) with the id that the row of `success_interventions` has or would have,
-- so that the two are compared by id. `would_send` is the shadow's `sent`; `decided_at` is when it would have left.
CREATE TABLE shadow_interventions (
    policy TEXT NOT NULL REFERENCES shadow_policies(policy) ON DELETE CASCADE,
    id UUID NOT NULL,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    trigger_condition TEXT NOT NULL,
    intervention_type TEXT NOT NULL,
    template_used TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('rescue', 'positive')),
    priority INT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('scheduled', 'would_send', 'suppressed')),
    reason TEXT,
    why TEXT,
    due_at TIMESTAMPTZ NOT NULL,
    not_before TIMESTAMPTZ NOT NULL,
    signal_id UUID NOT NULL,
    signal_at TIMESTAMPTZ NOT NULL,
    seq BIGINT NOT NULL,
    decided_at TIMESTAMPTZ,
    metadata JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (policy, id),
    CONSTRAINT shadow_suppressed_says_why CHECK ((status = 'suppressed') = (reason IS NOT NULL))
);
CREATE INDEX idx_shadow_supplier ON shadow_interventions(supplier_id);
CREATE INDEX idx_shadow_due ON shadow_interventions(policy, not_before) WHERE status = 'scheduled';

-- The reader may write here and nowhere else: a shadow has no way to touch what is live. The API shows agents.
DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['shadow_policies', 'shadow_interventions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY reader_all ON %I TO success_reader USING (true) WITH CHECK (true)', owned);
        EXECUTE format('CREATE POLICY writer_all ON %I TO success_writer USING (true) WITH CHECK (true)', owned);
        EXECUTE format('CREATE POLICY api_agents ON %I FOR SELECT TO success_api '
                       'USING ((SELECT success_sees_all()))', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO success_reader', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO success_writer', owned);
        EXECUTE format('GRANT SELECT ON %I TO success_api', owned);
    END LOOP;
END
$$;

-- What a shadow must know of tables that the reader does not see: whether a keyed hash is listed, and nothing else.
CREATE FUNCTION success_erased(hashes BYTEA[]) RETURNS SETOF BYTEA
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT id_hash FROM erased_suppliers WHERE id_hash = ANY(hashes) $$;
CREATE FUNCTION success_suppressed(hash BYTEA) RETURNS TABLE (reason TEXT, since TIMESTAMPTZ)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT s.reason, s.since FROM suppressed_addresses s WHERE s.address_hash = hash $$;
REVOKE ALL ON FUNCTION success_erased(BYTEA[]), success_suppressed(BYTEA) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_erased(BYTEA[]), success_suppressed(BYTEA) TO success_reader;
