"""The parts of an application's configuration: what each key takes, and its default."""
