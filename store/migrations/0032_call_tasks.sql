-- statement by statement
-- Calls to make. A task is a row of support_interactions that is open and has no time yet: a `support_call` that was sent, a
-- call that a supplier asked for, or one that an agent added (`added_by`). `weight`: risk x value when it was made, by which
-- the team's list is read; what people asked for comes before all others. `tries`: calls that nobody picked up. `done_by`: who
-- said how it went.
ALTER TABLE support_interactions
    ADD COLUMN IF NOT EXISTS weight DOUBLE PRECISION NOT NULL DEFAULT 'Infinity',
    ADD COLUMN IF NOT EXISTS snoozed_until TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS tries INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS added_by TEXT,
    ADD COLUMN IF NOT EXISTS done_by TEXT;
UPDATE support_interactions k
SET weight = coalesce((SELECT s.weight FROM supplier_standings s WHERE s.supplier_id = k.supplier_id), 0)
WHERE k.status = 'scheduled' AND k.scheduled_at IS NULL AND k.interaction_type = 'churn_prevention' AND k.added_by IS NULL
    AND k.weight = 'Infinity';
DROP INDEX CONCURRENTLY IF EXISTS idx_call_tasks;
CREATE INDEX CONCURRENTLY idx_call_tasks ON support_interactions(weight, id)
    WHERE status = 'scheduled' AND scheduled_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS idx_calls_wanted;

-- Whose book a supplier is in: that agent's tasks are theirs. Without a row, the team's.
CREATE TABLE IF NOT EXISTS supplier_owners (
    supplier_id UUID PRIMARY KEY REFERENCES suppliers(id) ON DELETE CASCADE,
    owner TEXT NOT NULL,    -- an agent, as the audit log names them
    since TIMESTAMPTZ NOT NULL,
    by TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_supplier_owners_owner ON supplier_owners(owner, supplier_id);
ALTER TABLE supplier_owners ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS writer_all ON supplier_owners;
CREATE POLICY writer_all ON supplier_owners TO success_writer USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS reader_all ON supplier_owners;
CREATE POLICY reader_all ON supplier_owners FOR SELECT TO success_reader USING (true);
DROP POLICY IF EXISTS api_agents ON supplier_owners;
CREATE POLICY api_agents ON supplier_owners TO success_api
    USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE, DELETE ON supplier_owners TO success_writer, success_api;
GRANT SELECT ON supplier_owners TO success_reader;
