-- What is open of one supplier: read at every claim, behind however long a backlog of others.
CREATE INDEX idx_interventions_open ON success_interventions(supplier_id) WHERE status IN ('scheduled', 'sending');

-- Published events that are old enough to go.
CREATE INDEX idx_outbox_published ON outbox(published_at) WHERE published_at IS NOT NULL;
