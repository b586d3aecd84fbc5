-- What a service without Sayso would keep: an append-only audit table, found by subject.
CREATE TABLE event (
    position bigserial PRIMARY KEY,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    subject text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body text NOT NULL
);
CREATE INDEX event_by_subject ON event (subject, position);
