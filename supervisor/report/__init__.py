"""Read-only views of records, for people and for --json. Nothing here repairs anything."""
