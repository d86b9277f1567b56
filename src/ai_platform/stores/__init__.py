"""Connections to the stores, nothing of the business: PostgreSQL (embedded or given by URL) and its migrations.

Above: every room that keeps something. Below: domain.
"""
