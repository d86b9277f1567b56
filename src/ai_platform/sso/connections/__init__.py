"""Accounts at MCP servers that people, or the platform itself, connected: credentials for servers, and nobody else's.

A caller's own credential for this platform never goes to a server. `credentials` is what the MCP room is given,
`flow` what the pages use. Above: entrypoints, bootstrap. Below: mcp (settings and Protocols), stores.
"""
