"""What services do through a client, each in a module: submit, publish, ask, cancel, replay."""
