"""An authorisation server for MCP clients (OAuth 2.1): who asks, whether the person agrees, and the tokens.

It signs nobody in (signon does) and speaks no HTTP to callers (entrypoints/signin does). `server` is its front door.
"""
