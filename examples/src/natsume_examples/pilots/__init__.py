"""Pilots: placeholder jobs, submitted to compute elements as far as they have room."""
