-- statement by statement
-- Notes to agents' own tools, in the outbox like all that is told: rows with a `note_id`, which is theirs for good, so that
-- telling again what was told adds none. For readers of the topics such a row counts as published from the start.
ALTER TABLE outbox
    ADD COLUMN IF NOT EXISTS note_id UUID,
    ADD COLUMN IF NOT EXISTS note_due_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS attempts INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS last_error TEXT,
    ADD COLUMN IF NOT EXISTS failed_at TIMESTAMPTZ;
DROP INDEX CONCURRENTLY IF EXISTS idx_outbox_notes;
CREATE UNIQUE INDEX CONCURRENTLY idx_outbox_notes ON outbox(note_id) WHERE note_id IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS idx_outbox_notes_due;
CREATE INDEX CONCURRENTLY idx_outbox_notes_due ON outbox(note_due_at) WHERE note_due_at IS NOT NULL;
