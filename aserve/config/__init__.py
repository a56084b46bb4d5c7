"""Settings, validated once, before anything starts."""
