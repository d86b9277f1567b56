"""The only place where objects meet: settings in, a running platform out. One file for each area; `platform` reads
top to bottom in the order things start, and they stop in the opposite order. Above: cli.

Nothing is imported here: `bootstrap.platform` brings every room along, and most commands need one of them.
"""
