-- What suppliers did lately of the things that they may do only so often: kept as long as it counts.
CREATE TABLE supplier_acts (
    id BIGSERIAL PRIMARY KEY,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_supplier_acts ON supplier_acts(supplier_id, kind, at);

ALTER TABLE supplier_acts ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON supplier_acts TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON supplier_acts FOR SELECT TO success_reader USING (true);
CREATE POLICY api_all ON supplier_acts TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
GRANT SELECT, INSERT, UPDATE, DELETE ON supplier_acts TO success_writer;
GRANT SELECT ON supplier_acts TO success_reader;
GRANT SELECT, INSERT, DELETE ON supplier_acts TO success_api;
GRANT USAGE ON SEQUENCE supplier_acts_id_seq TO success_writer, success_api;
