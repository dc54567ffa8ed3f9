"""The database: tables, journal, tape, snapshots."""
