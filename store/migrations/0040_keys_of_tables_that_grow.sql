-- statement by statement
-- Changes are kept by supplier and seq, so that is their key: an index of its own for ids cost as much as the row. (Should a
-- release before 0.1 have left two of one seq, one of them stays.)
DELETE FROM health_history one USING health_history other
WHERE other.supplier_id = one.supplier_id AND other.seq = one.seq AND other.id < one.id;
DROP INDEX CONCURRENTLY IF EXISTS idx_health_history_seq;
CREATE UNIQUE INDEX CONCURRENTLY idx_health_history_seq ON health_history(supplier_id, seq);
DROP INDEX CONCURRENTLY IF EXISTS idx_health_history_supplier;
-- What left or may have: of caps, and of goals that are reached later. One index for both.
DROP INDEX CONCURRENTLY IF EXISTS idx_interventions_left;
CREATE INDEX CONCURRENTLY idx_interventions_left ON success_interventions(supplier_id, sent_at)
    WHERE status IN ('sending', 'sent', 'unknown');
