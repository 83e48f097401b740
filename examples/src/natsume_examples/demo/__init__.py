"""The demo: real tasks on a real broker, one worker killed in the middle, every outcome accounted for."""
