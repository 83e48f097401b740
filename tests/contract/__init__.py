"""What each port promises, over the real adapter."""
