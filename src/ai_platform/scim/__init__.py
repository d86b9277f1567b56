"""SCIM 2.0 (RFC 7643, RFC 7644): an identity provider creates, changes and removes people and groups.

The protocol is scim2-server's; here are its storage in PostgreSQL and what a change means for a person. Needs the extra
`scim`, so that only the wiring imports what lies below `settings`. Above: entrypoints. Below: directory, stores.
"""
