"""TLS: certificates and keys, and how they are presented. Imported where it is used only."""
