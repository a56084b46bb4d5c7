"""Who may read and write which paths: users, their passwords, their rights. Without HTTP."""
