-- The table that a service without Sayso would use: an append-only audit table with an index by subject.
CREATE TABLE event (
    position bigserial PRIMARY KEY,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    subject text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body text NOT NULL
);
CREATE INDEX event_by_subject ON event (subject, position);
