-- The versions of the configuration: who put what into force, when and why, and the words that went with it.
-- Rules and policy stand on the topic success.rules too; here is all of it, ours written out.
CREATE TABLE config_versions (
    number INT PRIMARY KEY CHECK (number > 0),
    digest TEXT NOT NULL,
    source_digest TEXT NOT NULL,    -- of the files that were given, without what ships
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    copy_of INT REFERENCES config_versions(number),    -- the version that a rollback put back
    partitions INT[],    -- on which it is in force; null: on all
    rules JSON NOT NULL,
    policy JSON NOT NULL,
    churn JSON,
    brand JSON NOT NULL,
    templates JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    in_force_at TIMESTAMPTZ    -- when the topic had it; null: it never got there
);
CREATE INDEX idx_config_versions_digest ON config_versions(digest);
CREATE INDEX idx_config_versions_source ON config_versions(source_digest);

ALTER TABLE config_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON config_versions TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY api_read ON config_versions FOR SELECT TO success_api
    USING ((SELECT success_claims() ->> 'role') = 'agent');
GRANT SELECT, INSERT, UPDATE ON config_versions TO success_writer;
GRANT SELECT ON config_versions TO success_api;

-- Why a message of a change of rules is not sent; a superset, so that rows there are need no look.
ALTER TABLE success_interventions DROP CONSTRAINT interventions_suppressed_says_why;
ALTER TABLE success_interventions ADD CONSTRAINT interventions_suppressed_says_why CHECK (
    status <> 'suppressed' OR (reason IS NOT NULL AND reason IN (
        'weekly_cap', 'trigger_cap', 'opted_out', 'paused', 'held', 'healthy', 'resolved',
        'cancelled_supplier', 'onboarding', 'no_address', 'bounced', 'complained', 'erased',
        'superseded', 'holdout', 'nothing_to_say', 'rules_changed', 'stale', 'expired'))) NOT VALID;
