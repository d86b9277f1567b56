"""The command line: thin commands, one file a topic, that talk to a running platform or start one."""
