"""What brings tasks back: into a broker that was lost, and into one that is made anew on purpose."""
