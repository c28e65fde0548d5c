-- What is open of one supplier: read at every claim, behind however long a backlog of others.
CREATE INDEX idx_interventions_open ON success_interventions(supplier_id) WHERE status = 'scheduled';
