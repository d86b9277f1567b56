"""The doors: wire formats in, domain calls out; domain errors in, wire answers out. No decisions are taken here."""
