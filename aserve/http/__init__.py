"""HTTP semantics for a file server (RFC 9110). Pure: no loop, no disk, no clock, no settings."""
