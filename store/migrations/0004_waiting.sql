-- Rows that wait for health or an address are few; delivery looks for them at every claim.
CREATE INDEX idx_interventions_waiting ON success_interventions((metadata ->> 'waiting')) WHERE status = 'scheduled';
