"""Actors as classes: what they declare, their arguments, what they are given, and how they are found."""
