"""System calls that Python does not have, one module for each."""
