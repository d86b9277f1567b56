"""Knowledge base: folders of documents as MCP resources `kb://docs/ID`, and `search_kb` with ranked snippets.

The index (SQLite FTS5, or PostgreSQL full text) holds the text of every document, so that answering a caller never
opens a file: an identifier is a key of the index, not a path. Below: domain.
"""
