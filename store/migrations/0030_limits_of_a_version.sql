-- statement by statement
-- How much of what may come of a version's messages before it is taken back; null: it is not watched.
ALTER TABLE config_versions ADD COLUMN IF NOT EXISTS limits JSONB;
-- What came of messages that is no good, by the version that decided them: few rows, looked at every few seconds.
DROP INDEX CONCURRENTLY IF EXISTS idx_interventions_gone_wrong;
CREATE INDEX CONCURRENTLY idx_interventions_gone_wrong ON success_interventions((metadata ->> 'decided_version'))
    WHERE complained_at IS NOT NULL OR bounced_at IS NOT NULL OR unsubscribed_at IS NOT NULL OR status = 'failed';
