-- What a message is compared with, and which suppliers an agent keeps messages from.

-- `template_used` is the base template's name; `variant` names the group: a variant of the template (`base` is the
-- template itself) where `experiment` is the trigger's name, `treated` or `holdout` where it is `holdout`.
ALTER TABLE success_interventions
    ADD COLUMN experiment TEXT,
    ADD COLUMN variant TEXT,
    ADD CONSTRAINT interventions_variant_of_an_experiment CHECK ((experiment IS NULL) = (variant IS NULL));
CREATE INDEX idx_interventions_experiment ON success_interventions(experiment, variant)
    WHERE experiment IS NOT NULL;

-- A row: an agent holds all messages to her. What happened when is in audit_log.
CREATE TABLE supplier_holds (
    supplier_id UUID PRIMARY KEY REFERENCES suppliers(id) ON DELETE CASCADE,
    held_at TIMESTAMPTZ NOT NULL,
    held_by TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT ''
);
ALTER TABLE supplier_holds ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON supplier_holds TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON supplier_holds FOR SELECT TO success_reader USING (true);
-- Agents' and services' alone: a supplier neither sees nor lifts a hold.
CREATE POLICY api_agents ON supplier_holds TO success_api
    USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE, DELETE ON supplier_holds TO success_writer, success_api;
GRANT SELECT ON supplier_holds TO success_reader;
