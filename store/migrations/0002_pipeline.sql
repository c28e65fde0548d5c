-- What the pipeline keeps beyond the specification's columns.

-- Where the stored profile stood in its log: one that is older by offset and by time never overwrites it
-- (both, because offsets start again when a topic is made anew, and producers' clocks differ).
ALTER TABLE suppliers
    ADD COLUMN profile_offset BIGINT,
    ADD COLUMN profile_stamp TIMESTAMPTZ;

-- One row a supplier. `seq` numbers her evaluations: a snapshot overwrites only an older or equal one.
-- `breakdown` are points by component; `facts` is the rest of the newest snapshot (docs/tables.md).
ALTER TABLE customer_health
    ADD CONSTRAINT customer_health_one_per_supplier UNIQUE (supplier_id),
    ADD COLUMN seq BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN breakdown JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN churn_probability DOUBLE PRECISION CHECK (churn_probability BETWEEN 0 AND 1),
    ADD COLUMN next_change_at TIMESTAMPTZ,
    ADD COLUMN facts JSONB NOT NULL DEFAULT '{}';
ALTER TABLE customer_health SET (fillfactor = 70);  -- room for updates in place: every row changes often

-- A row per change of the displayed score or of the level; with its causes it explains every change.
CREATE TABLE health_history (
    id UUID PRIMARY KEY,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    score INT NOT NULL CHECK (score BETWEEN 0 AND 100),
    risk_level TEXT NOT NULL CHECK (risk_level IN ('healthy', 'at_risk', 'critical')),
    causes JSONB NOT NULL DEFAULT '[]'
);
CREATE INDEX idx_health_history_supplier ON health_history(supplier_id, seq);

-- One row per (signal, trigger). `seq` is the signal's: the row is decided on once the stored health has reached it.
ALTER TABLE success_interventions
    ALTER COLUMN sent_at DROP DEFAULT,
    ADD COLUMN status TEXT NOT NULL DEFAULT 'scheduled'
        CHECK (status IN ('scheduled', 'sending', 'sent', 'suppressed', 'failed', 'unknown')),
    ADD COLUMN reason TEXT,
    ADD COLUMN due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN not_before TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN signal_id UUID,
    ADD COLUMN signal_at TIMESTAMPTZ,
    ADD COLUMN seq BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN kind TEXT NOT NULL DEFAULT 'rescue' CHECK (kind IN ('rescue', 'positive')),
    ADD COLUMN priority INT NOT NULL DEFAULT 0,
    ADD COLUMN claimed_at TIMESTAMPTZ,
    ADD COLUMN attempts INT NOT NULL DEFAULT 0,
    ADD COLUMN last_error TEXT,
    ADD CONSTRAINT interventions_suppressed_says_why CHECK (
        status <> 'suppressed' OR (reason IS NOT NULL AND reason IN (
            'weekly_cap', 'trigger_cap', 'opted_out', 'paused', 'held', 'healthy', 'resolved',
            'cancelled_supplier', 'onboarding', 'no_address', 'bounced', 'complained', 'erased',
            'superseded', 'holdout', 'stale', 'expired'))),
    ADD CONSTRAINT interventions_sent_has_its_time CHECK ((status = 'sent') = (sent_at IS NOT NULL));

-- delivery's claim; a supplier's open rows; the rolling caps; a trigger's own number a week; claims a crash left
CREATE INDEX idx_interventions_due ON success_interventions(status, not_before) WHERE status = 'scheduled';
CREATE INDEX idx_interventions_claims ON success_interventions(supplier_id, claimed_at)
    WHERE status IN ('sending', 'sent', 'unknown');
CREATE INDEX idx_interventions_trigger
    ON success_interventions(supplier_id, trigger_condition, signal_at);
CREATE INDEX idx_interventions_sending ON success_interventions(claimed_at) WHERE status = 'sending';

ALTER TABLE support_interactions
    ADD COLUMN preferred_times TIMESTAMPTZ[] NOT NULL DEFAULT '{}',
    ADD COLUMN urgency TEXT CHECK (urgency IN ('low', 'medium', 'high'));

-- Events to publish, written in the transaction that made them true.
CREATE TABLE outbox (
    id BIGSERIAL PRIMARY KEY,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    value BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    published_at TIMESTAMPTZ
);
CREATE INDEX idx_outbox_unpublished ON outbox(id) WHERE published_at IS NULL;

-- Who must stay erased: a keyed hash of the supplier's id, so that the table names nobody.
CREATE TABLE erased_suppliers (
    id_hash BYTEA PRIMARY KEY,
    erased_at TIMESTAMPTZ NOT NULL
);

-- Who did what to whom. No foreign key: the log outlives the supplier, and holds ids only.
CREATE TABLE audit_log (
    id BIGSERIAL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor TEXT NOT NULL,
    actor_role TEXT NOT NULL,
    action TEXT NOT NULL,
    supplier_id UUID,
    details JSONB NOT NULL DEFAULT '{}'
);
CREATE INDEX idx_audit_log_supplier ON audit_log(supplier_id, at);
