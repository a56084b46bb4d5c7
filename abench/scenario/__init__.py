"""What a scenario is written with, and the users that carry it out."""
