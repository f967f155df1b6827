"""zfjax."""
