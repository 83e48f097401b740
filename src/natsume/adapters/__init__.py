"""What carries out the ports: the broker, SQL, memory."""
