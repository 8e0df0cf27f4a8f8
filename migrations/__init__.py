"""The ledger's schema, version by version. Applied by `core.db.migrate.migrate`; nothing here is configured by a file."""
