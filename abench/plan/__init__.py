"""What a run is to do: checked once, and divided among processes."""
