-- The indexes that the specification names are those that do more: a second one of the same column is one too many. Tables are
-- taken in the order in which the writer takes them.
DROP INDEX idx_customer_health_supplier;
ALTER TABLE customer_health RENAME CONSTRAINT customer_health_one_per_supplier TO idx_customer_health_supplier;
DROP INDEX idx_interventions_supplier;
ALTER INDEX idx_interventions_trigger RENAME TO idx_interventions_supplier;
-- Replaced by idx_interventions_left.
DROP INDEX idx_interventions_claims;
DROP INDEX idx_interventions_unconverted;
-- Services before 0040 found a change by its id.
ALTER TABLE health_history DROP CONSTRAINT health_history_pkey;
ALTER TABLE health_history ADD CONSTRAINT health_history_pkey PRIMARY KEY USING INDEX idx_health_history_seq;
